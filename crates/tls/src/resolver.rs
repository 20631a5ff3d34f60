//! The certificate that handshakes use, loaded again when its files change.
//!
//! There is no timer: a handshake checks the files when it needs the certificate, at most once a second. Files that
//! cannot be loaded leave the previous certificate in use. They are logged once, and only when a second check finds
//! them unchanged: a certificate and its key are two files, and a check between the two writes of a renewal sees a pair
//! that does not match.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use amboss_core::Log;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::SslError;
use crate::load;

/// How long a new certificate can go unnoticed while there are handshakes. This bounds how often handshakes check the
/// files, however many of them there are.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Resolves the server's certificate, and reloads it when its files change.
pub(crate) struct ReloadingCertResolver {
    /// `None` for a certificate that never changes.
    files: Option<CertFiles>,
    state: Mutex<State>,
}

struct CertFiles {
    certificate: PathBuf,
    key: Option<PathBuf>,
}

struct State {
    current: Arc<CertifiedKey>,
    last_check: Instant,
    /// The stamps of the files when they were last loaded, successfully or not.
    stamps: [Option<FileStamp>; 2],
    load_state: LoadState,
    log: Arc<dyn Log>,
}

/// Whether the files could be loaded when they were last tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoadState {
    Loaded,
    Failed,
    /// They could not be loaded, and this was logged or returned by `reload`.
    Reported,
}

/// The metadata that tells a changed file from an unchanged one.
#[derive(PartialEq, Eq)]
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
        load::load_certified_key(&self.certificate, self.key.as_deref())
    }
}

impl ReloadingCertResolver {
    /// A certificate that never changes.
    pub(crate) fn fixed(current: Arc<CertifiedKey>, log: Arc<dyn Log>) -> ReloadingCertResolver {
        ReloadingCertResolver::new(None, current, [None, None], log)
    }

    pub(crate) fn from_files(
        certificate: &Path,
        key: Option<&Path>,
        log: Arc<dyn Log>,
    ) -> Result<ReloadingCertResolver, SslError> {
        let files = CertFiles { certificate: certificate.to_owned(), key: key.map(Path::to_owned) };
        // Taken before the files are loaded: the next check notices a change in between.
        let stamps = files.stamps();
        let current = files.load()?;
        Ok(ReloadingCertResolver::new(Some(files), current, stamps, log))
    }

    fn new(
        files: Option<CertFiles>,
        current: Arc<CertifiedKey>,
        stamps: [Option<FileStamp>; 2],
        log: Arc<dyn Log>,
    ) -> ReloadingCertResolver {
        let state = State { current, last_check: Instant::now(), stamps, load_state: LoadState::Loaded, log };
        ReloadingCertResolver { files, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets the log for files that cannot be loaded.
    pub(crate) fn set_log(&self, log: Arc<dyn Log>) {
        self.state().log = log;
    }

    /// The certificate in use. Does not check the files.
    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        self.state().current.clone()
    }

    /// Loads the files again now. A failure is returned and not logged.
    pub(crate) fn reload(&self) -> Result<(), SslError> {
        let Some(files) = &self.files else { return Ok(()) };
        let mut state = self.state();
        state.last_check = Instant::now();
        state.stamps = files.stamps();
        state.load_state = LoadState::Reported;
        state.current = files.load()?;
        state.load_state = LoadState::Loaded;
        Ok(())
    }

    /// The certificate to use now. Checks the files unless they were checked within the last [`CHECK_INTERVAL`].
    fn check(&self, files: &CertFiles) -> Arc<CertifiedKey> {
        let mut state = self.state();
        if state.last_check.elapsed() < CHECK_INTERVAL {
            return state.current.clone();
        }
        state.last_check = Instant::now();
        let stamps = files.stamps();
        let changed = stamps != state.stamps;
        if changed || state.load_state == LoadState::Failed {
            match files.load() {
                Ok(loaded) => (state.current, state.load_state) = (loaded, LoadState::Loaded),
                Err(_) if changed => state.load_state = LoadState::Failed,
                Err(error) => {
                    state.load_state = LoadState::Reported;
                    state.log.error(&format!("{error} (the previous certificate stays in use until then)"));
                }
            }
            state.stamps = stamps;
        }
        state.current.clone()
    }
}

impl ResolvesServerCert for ReloadingCertResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(match &self.files {
            Some(files) => self.check(files),
            None => self.current(),
        })
    }
}

impl fmt::Debug for ReloadingCertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.files.as_ref().map(|files| &files.certificate);
        f.debug_struct("ReloadingCertResolver").field("certificate", &path).finish_non_exhaustive()
    }
}
