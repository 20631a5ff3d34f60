//! The certificate of all peers: ECDSA P-256, created when the benchmark begins, in a folder that is removed when it
//! ends.

use crate::result::Result;
use std::path::{Path, PathBuf};

/// The folder with the certificate. Dropping it removes the folder.
pub struct Certificate(PathBuf);

impl Certificate {
    /// Creates the certificate for the servers that this process starts.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn create() -> Result<Self> {
        let folder = Certificate(folder(std::process::id()));
        std::fs::create_dir_all(&folder.0).map_err(|error| format!("can't create {}: {error}", folder.0.display()))?;
        amboss_tls::make_ssl_devcert(base(&folder.0), None, Some("localhost")).map_err(|error| error.to_string())?;
        Ok(folder)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The folder with the certificate for servers that the process with this id starts.
pub fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("amboss-bench-tls-{pid}"))
}

/// The paths of the certificate and its key in that folder, both in PEM.
pub fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (base(folder).with_extension("crt"), base(folder).with_extension("key"))
}

fn base(folder: &Path) -> PathBuf {
    folder.join("server")
}
