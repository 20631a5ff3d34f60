//! The certificate that is served with, read again when its files change.
//!
//! Nothing ticks: the files are looked at when a handshake needs the certificate, and no more often than once a
//! second. A pair that can't be used leaves the one in use, and is told of once, at its second sight: certificate and
//! key are two files, and whoever looks between the two writes sees a pair that does not match.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use amboss_core::Log;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::SslError;
use crate::read;

/// How often files are looked at while there are handshakes: nobody waits longer for a new certificate, and a
/// thousand handshakes a second don't cost a thousand looks.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Renewed {
    files: Option<Files>,
    state: Mutex<State>,
}

struct Files {
    certificate: PathBuf,
    key: Option<PathBuf>,
}

struct State {
    current: Arc<CertifiedKey>,
    looked: Instant,
    /// How the files looked that `current` was read from, or that could not be used.
    seen: Looks,
    /// They could not be used; whether that was told.
    broken: Option<bool>,
    log: Arc<dyn Log>,
}

/// By what a changed file is told from an unchanged one.
type Looks = [Option<(Option<SystemTime>, u64, u64)>; 2];

impl Files {
    fn looks(&self) -> Looks {
        [Some(&self.certificate), self.key.as_ref()].map(|path| {
            let metadata = fs::metadata(path?).ok()?;
            #[cfg(unix)]
            let number = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let number = 0;
            Some((metadata.modified().ok(), metadata.len(), number))
        })
    }

    fn read(&self) -> Result<Arc<CertifiedKey>, SslError> {
        read::identity(&self.certificate, self.key.as_deref())
    }
}

impl Renewed {
    /// A certificate that stays as it is.
    pub(crate) fn fixed(current: Arc<CertifiedKey>, log: Arc<dyn Log>) -> Renewed {
        Renewed::new(None, current, Default::default(), log)
    }

    pub(crate) fn from_files(certificate: &Path, key: Option<&Path>, log: Arc<dyn Log>) -> Result<Renewed, SslError> {
        let files = Files { certificate: certificate.to_owned(), key: key.map(Path::to_owned) };
        // Looked at before they are read: what changes in between is noticed at the next look.
        let looks = files.looks();
        let current = files.read()?;
        Ok(Renewed::new(Some(files), current, looks, log))
    }

    fn new(files: Option<Files>, current: Arc<CertifiedKey>, seen: Looks, log: Arc<dyn Log>) -> Renewed {
        let state = State { current, looked: Instant::now(), seen, broken: None, log };
        Renewed { files, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Where to tell of files that can't be used.
    pub(crate) fn set_log(&self, log: Arc<dyn Log>) {
        self.state().log = log;
    }

    /// The certificate in use, as far as known without looking.
    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        self.state().current.clone()
    }

    /// Reads the files again now. What can't be used is an error, and is not logged as well.
    pub(crate) fn reload(&self) -> Result<(), SslError> {
        let Some(files) = &self.files else { return Ok(()) };
        let mut state = self.state();
        state.looked = Instant::now();
        state.seen = files.looks();
        state.broken = Some(true);
        state.current = files.read()?;
        state.broken = None;
        Ok(())
    }

    fn look(&self, files: &Files) -> Arc<CertifiedKey> {
        let mut state = self.state();
        if state.looked.elapsed() < INTERVAL {
            return state.current.clone();
        }
        state.looked = Instant::now();
        let looks = files.looks();
        let changed = looks != state.seen;
        if changed || state.broken == Some(false) {
            match files.read() {
                Ok(renewed) => (state.current, state.broken) = (renewed, None),
                Err(_) if changed => state.broken = Some(false),
                Err(error) => {
                    state.broken = Some(true);
                    state.log.error(&format!("{error} (until then, the certificate of before stays in use)"));
                }
            }
            state.seen = looks;
        }
        state.current.clone()
    }
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(match &self.files {
            Some(files) => self.look(files),
            None => self.current(),
        })
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.files.as_ref().map(|files| &files.certificate);
        f.debug_struct("Renewed").field("certificate", &path).finish_non_exhaustive()
    }
}
