//! The certificates of a server: which one a handshake uses, and when their files are checked for changes.
//!
//! There is no timer: a handshake checks the files of all certificates when it needs one of them, at most once a second.
//! A check of the requested certificate alone is not enough, because a changed one may have other names.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use amboss_core::Log;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::cert_names::CertNames;
use crate::error::SslError;
use crate::reloading_cert::ReloadingCert;

/// How long a new certificate can go unnoticed while there are handshakes. This bounds how often handshakes check the
/// files, however many of them there are.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Resolves the server's certificate for the name that a client asks for, and reloads certificates when their files
/// change.
pub(crate) struct CertResolver {
    state: Mutex<State>,
}

struct State {
    /// The first one is the default. There is at least one.
    certificates: Vec<ReloadingCert>,
    names: CertNames,
    last_check: Instant,
    log: Arc<dyn Log>,
}

impl State {
    fn new(certificates: Vec<ReloadingCert>, log: Arc<dyn Log>) -> State {
        State { names: names_of(&certificates), certificates, last_check: Instant::now(), log }
    }

    /// Checks the files unless they were checked within the last [`CHECK_INTERVAL`].
    fn check(&mut self) {
        if self.last_check.elapsed() < CHECK_INTERVAL {
            return;
        }
        self.last_check = Instant::now();
        let mut changed = false;
        for certificate in &mut self.certificates {
            changed |= certificate.check(&*self.log);
        }
        if changed {
            self.names = names_of(&self.certificates);
        }
    }
}

fn names_of(certificates: &[ReloadingCert]) -> CertNames {
    let mut names = CertNames::default();
    for (position, certificate) in certificates.iter().enumerate() {
        names.add(&certificate.dns_names(), position);
    }
    names
}

impl CertResolver {
    /// A resolver with the default certificate alone.
    pub(crate) fn new(default: ReloadingCert, log: Arc<dyn Log>) -> CertResolver {
        CertResolver { state: Mutex::new(State::new(vec![default], log)) }
    }

    /// Returns a resolver with a further certificate, and whether the certificate is used: false when earlier
    /// certificates have all of its names.
    pub(crate) fn with_certificate(&self, added: ReloadingCert) -> (CertResolver, bool) {
        let (mut certificates, log) = {
            let state = self.state();
            (state.certificates.clone(), state.log.clone())
        };
        let names = added.dns_names();
        let is_used = names_of(&certificates).add(&names, certificates.len());
        certificates.push(added);
        (CertResolver { state: Mutex::new(State::new(certificates, log)) }, is_used)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets the log for files that cannot be loaded.
    pub(crate) fn set_log(&self, log: Arc<dyn Log>) {
        self.state().log = log;
    }

    /// The default certificate in use. Does not check the files.
    pub(crate) fn default_certificate(&self) -> Arc<CertifiedKey> {
        self.state().certificates[0].current().clone()
    }

    /// Loads all files again now. Returns the first failure; the next check logs the others.
    pub(crate) fn reload(&self) -> Result<(), SslError> {
        let mut state = self.state();
        state.last_check = Instant::now();
        let mut result = Ok(());
        for certificate in &mut state.certificates {
            let reloaded = certificate.reload();
            if result.is_ok() && reloaded.is_err() {
                certificate.set_reported();
                result = reloaded;
            }
        }
        state.names = names_of(&state.certificates);
        result
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut state = self.state();
        state.check();
        // rustls returns the name in lowercase.
        let position = client_hello.server_name().and_then(|name| state.names.position(name));
        state.certificates.get(position.unwrap_or(0)).map(|certificate| certificate.current().clone())
    }
}

impl fmt::Debug for CertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let paths: Vec<Option<&Path>> = state.certificates.iter().map(ReloadingCert::path).collect();
        f.debug_struct("CertResolver").field("certificates", &paths).finish_non_exhaustive()
    }
}
