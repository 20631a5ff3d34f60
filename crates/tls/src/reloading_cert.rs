//! A certificate and its key, loaded again when their files change.
//!
//! Files that cannot be loaded leave the previous certificate in use. They are logged once, and only when a second check
//! finds them unchanged: a certificate and its key are two files, and a check between the two writes of a renewal sees a
//! pair that does not match.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use amboss_core::Log;
use rustls::sign::CertifiedKey;

use crate::cert_info::CertInfo;
use crate::error::{SslError, SslErrorKind};
use crate::host::Host;
use crate::load;

/// A certificate with its key, and the files that they come from.
#[derive(Clone)]
pub(crate) struct ReloadingCert {
    /// `None` for a certificate that never changes.
    files: Option<CertFiles>,
    current: Arc<CertifiedKey>,
    /// The stamps of the files when they were last loaded, successfully or not.
    stamps: [Option<FileStamp>; 2],
    load_state: LoadState,
}

#[derive(Clone)]
struct CertFiles {
    certificate: PathBuf,
    key: Option<PathBuf>,
    /// Whether a certificate without DNS names is an error.
    names_required: bool,
}

/// Whether the files could be loaded when they were last tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoadState {
    Loaded,
    Failed,
    /// They could not be loaded, and this was logged or returned to the caller.
    Reported,
}

/// The metadata that tells a changed file from an unchanged one.
#[derive(Clone, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl FileStamp {
    /// The stamp of a file. `None` when there is no such file.
    fn of(path: &Path) -> Option<FileStamp> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(FileStamp { modified: metadata.modified().ok(), length: metadata.len(), inode })
    }
}

impl CertFiles {
    fn stamps(&self) -> [Option<FileStamp>; 2] {
        [Some(&self.certificate), self.key.as_ref()].map(|path| FileStamp::of(path?))
    }

    fn load(&self) -> Result<Arc<CertifiedKey>, SslError> {
        let loaded = load::load_certified_key(&self.certificate, self.key.as_deref())?;
        if self.names_required && dns_names(&loaded).is_empty() {
            let message = format!(
                "the certificate in {} has no DNS name, so no client can ask for it; issue it with one (openssl req \
                 -addext subjectAltName=DNS:a.example), or use it as the first certificate, which is the default",
                self.certificate.display()
            );
            return Err(SslError::new(SslErrorKind::NoName, message));
        }
        Ok(loaded)
    }
}

impl ReloadingCert {
    /// A certificate that never changes.
    pub(crate) fn fixed(current: Arc<CertifiedKey>) -> ReloadingCert {
        ReloadingCert { files: None, current, stamps: [None, None], load_state: LoadState::Loaded }
    }

    /// Loads a certificate and its key. `names_required`: whether a certificate without DNS names is an error, now and
    /// after a change.
    pub(crate) fn from_files(
        certificate: &Path,
        key: Option<&Path>,
        names_required: bool,
    ) -> Result<ReloadingCert, SslError> {
        let files = CertFiles { certificate: certificate.to_owned(), key: key.map(Path::to_owned), names_required };
        // Taken before the files are loaded: the next check notices a change in between.
        let stamps = files.stamps();
        let current = files.load()?;
        Ok(ReloadingCert { files: Some(files), current, stamps, load_state: LoadState::Loaded })
    }

    /// The certificate in use.
    pub(crate) fn current(&self) -> &Arc<CertifiedKey> {
        &self.current
    }

    /// The file of the certificate. `None` for a certificate that never changes.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| files.certificate.as_path())
    }

    /// The DNS names among the subject alternative names of the certificate in use. Clients ignore its common name
    /// (RFC 9525 §2).
    pub(crate) fn dns_names(&self) -> Vec<String> {
        dns_names(&self.current)
    }

    /// Loads the files again now. A failure is returned, and logged by the next check unless
    /// [`set_reported`](ReloadingCert::set_reported) is called.
    pub(crate) fn reload(&mut self) -> Result<(), SslError> {
        let Some(files) = &self.files else { return Ok(()) };
        self.stamps = files.stamps();
        self.load_state = LoadState::Failed;
        self.current = files.load()?;
        self.load_state = LoadState::Loaded;
        Ok(())
    }

    /// Notes that the failure of the last [`reload`](ReloadingCert::reload) does not have to be logged.
    pub(crate) fn set_reported(&mut self) {
        self.load_state = LoadState::Reported;
    }

    /// Loads the files again if they have changed. Returns whether another certificate is in use from now on.
    pub(crate) fn check(&mut self, log: &dyn Log) -> bool {
        let Some(files) = &self.files else { return false };
        let stamps = files.stamps();
        let changed = stamps != self.stamps;
        if !changed && self.load_state != LoadState::Failed {
            return false;
        }
        self.stamps = stamps;
        let loaded = files.load();
        self.load_state = match &loaded {
            Ok(_) => LoadState::Loaded,
            Err(_) if changed => LoadState::Failed,
            Err(error) => {
                log.error(&format!("{error} (the previous certificate stays in use until then)"));
                LoadState::Reported
            }
        };
        loaded.map(|loaded| self.current = loaded).is_ok()
    }
}

fn dns_names(certified_key: &CertifiedKey) -> Vec<String> {
    let info = certified_key.cert.first().and_then(|certificate| CertInfo::parse(certificate));
    let hosts = info.map(|info| info.hosts).unwrap_or_default();
    let names = hosts.into_iter().filter_map(|host| match host {
        Host::Name(name) => Some(name),
        Host::Ip(_) => None,
    });
    names.collect()
}
