//! The certificate that all peers speak TLS with: ECDSA P-256, made when the benchmark begins, in a folder that goes when it ends.

use crate::Result;
use std::path::{Path, PathBuf};

/// The folder, while it is there. Dropping it removes it.
pub struct Certificate(PathBuf);

impl Certificate {
    /// Makes the certificate for the servers this process starts.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn make() -> Result<Self> {
        let folder = Certificate(folder(std::process::id()));
        std::fs::create_dir_all(&folder.0).map_err(|error| format!("cannot make {}: {error}", folder.0.display()))?;
        amboss_tls::make_ssl_devcert(base(&folder.0), None, Some("localhost")).map_err(|error| error.to_string())?;
        Ok(folder)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where servers that were started by that process id find their certificate.
pub fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("amboss-bench-tls-{pid}"))
}

/// The certificate and its key in that folder, in PEM.
pub fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (base(folder).with_extension("crt"), base(folder).with_extension("key"))
}

fn base(folder: &Path) -> PathBuf {
    folder.join("server")
}
