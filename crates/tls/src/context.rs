//! The TLS settings of a server: its certificates, and what clients may and must do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss_core::{Log, Socket, TextLog, Transport, TransportLayer};
use rustls::ServerConfig;

use crate::adhoc;
use crate::error::{SslError, SslErrorKind};
use crate::files;
use crate::load;
use crate::plain_http::PlainHttpPolicy;
use crate::reloading_cert::ReloadingCert;
use crate::resolver::CertResolver;
use crate::server_config::{restrict_to_http, select_suites, server_config, ClientPolicy, TlsVersion};
use crate::transport::TlsTransport;

/// Whether clients are asked for certificates. See [`SslContext::client_certificates`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Clients are not asked for a certificate.
    #[default]
    Off,
    /// Clients are asked for a certificate, and may connect without one. A certificate that a client sends has to be
    /// issued by an authority in this PEM file.
    Optional(PathBuf),
    /// Clients have to send a certificate that is issued by an authority in this PEM file.
    Required(PathBuf),
}

/// The TLS settings of a server. [`layer`](SslContext::layer) returns the value for
/// [`Settings::transport`](amboss_core::Settings::transport):
///
/// ```
/// use amboss_core::Settings;
/// use amboss_tls::SslContext;
///
/// # let folder = std::env::temp_dir().join(format!("amboss-context-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let (certificate, key) = amboss_tls::make_ssl_devcert(folder.join("dev"), Some("localhost"), None)?;
/// let mut settings = Settings::default();
/// settings.transport = Some(SslContext::from_files(certificate, Some(&key))?.layer());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The server speaks TLS 1.2 and 1.3 with the ciphers of rustls, all of which have forward secrecy, and negotiates
/// HTTP/1.1 with clients that use ALPN. Sessions are resumed with tickets, whose keys this process generates and
/// changes every six hours, or from a cache of limited size.
///
/// Applications find these variables in their environ: `SSL_PROTOCOL` (`TLSv1.2` or `TLSv1.3`), `SSL_CIPHER` (OpenSSL's
/// name of the cipher, as in Apache's mod_ssl) and `SSL_CLIENT_CERT` (PEM, when the client sent a certificate).
#[derive(Clone)]
pub struct SslContext {
    config: Arc<ServerConfig>,
    /// `None` for a context made from a rustls configuration.
    resolver: Option<Arc<CertResolver>>,
    clients: ClientPolicy,
    plain_http: PlainHttpPolicy,
    log: Arc<dyn Log>,
    /// The warnings to log when serving begins.
    warnings: Vec<String>,
}

impl SslContext {
    /// Uses a self-signed certificate for localhost and the loopback addresses. It is generated once and stored in the
    /// user's cache folder, so that a browser asks only once whether to trust it; only this user can read its key. When
    /// it cannot be stored, a warning is logged.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn adhoc() -> Result<SslContext, SslError> {
        SslContext::adhoc_for(&[])
    }

    /// As [`adhoc`](SslContext::adhoc), and for these hosts, too: names, or addresses that the server listens on.
    ///
    /// # Errors
    /// When a certificate cannot contain a host.
    pub fn adhoc_for(hosts: &[&str]) -> Result<SslContext, SslError> {
        SslContext::adhoc_stored(files::cache_folder(), hosts)
    }

    /// As [`adhoc_for`](SslContext::adhoc_for), with the certificate stored in this folder, which is created if
    /// necessary.
    ///
    /// # Errors
    /// As for [`adhoc_for`](SslContext::adhoc_for).
    pub fn adhoc_in(folder: impl Into<PathBuf>, hosts: &[&str]) -> Result<SslContext, SslError> {
        SslContext::adhoc_stored(Some(folder.into()), hosts)
    }

    fn adhoc_stored(folder: Option<PathBuf>, hosts: &[&str]) -> Result<SslContext, SslError> {
        let log = default_log();
        let (certified_key, warning) = adhoc::certified_key(folder, hosts)?;
        let context = SslContext::with_default(ReloadingCert::fixed(certified_key), log)?;
        Ok(SslContext { warnings: warning.into_iter().collect(), ..context })
    }

    /// Uses the certificate in a PEM file, followed by its chain, and its private key (PKCS#8, PKCS#1 or SEC1), which
    /// can be in the same file.
    ///
    /// A file that has changed is loaded again when the next client connects, at most once a second. When the files
    /// cannot be used, the previous certificate stays in use, and the log says why.
    ///
    /// # Errors
    /// When a file cannot be read or is not in PEM; when there is no key, or the key is encrypted, of an unsupported
    /// type or of another certificate; and when the certificate has expired. The error's message says what to do.
    pub fn from_files(certificate: impl AsRef<Path>, key: Option<&Path>) -> Result<SslContext, SslError> {
        let default = ReloadingCert::from_files(certificate.as_ref(), key, false)?;
        SslContext::with_default(default, default_log())
    }

    /// Adds a certificate from PEM files, as [`from_files`](SslContext::from_files) loads them, for clients that ask for
    /// one of its names (SNI, RFC 6066 §3). Can be called several times.
    ///
    /// The names are the DNS names among the certificate's subject alternative names; case does not matter. A client gets
    /// the certificate with exactly the name that it asks for, or else one with a wildcard (`*.a.example`) for the name's
    /// first label. The certificate that the context was made with has names, too, and it is the default for clients
    /// that send no name or an unknown one. If several certificates have the same name, the first one is used, as in
    /// nginx; an added certificate that is never used for this reason is logged when serving begins.
    ///
    /// ```
    /// use amboss_tls::SslContext;
    ///
    /// # let folder = std::env::temp_dir().join(format!("amboss-names-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let (certificate, key) = amboss_tls::make_ssl_devcert(folder.join("a"), Some("a.test"), None)?;
    /// # let (other_certificate, other_key) = amboss_tls::make_ssl_devcert(folder.join("b"), Some("b.test"), None)?;
    /// let context =
    ///     SslContext::from_files(certificate, Some(&key))?.with_certificate(other_certificate, Some(&other_key))?;
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`from_files`](SslContext::from_files); when the certificate has no DNS name; and on a context made with
    /// [`from_config`](SslContext::from_config), whose configuration has its certificates already.
    pub fn with_certificate(
        mut self,
        certificate: impl AsRef<Path>,
        key: Option<&Path>,
    ) -> Result<SslContext, SslError> {
        let Some(resolver) = &self.resolver else {
            let message = "certificates are part of a rustls configuration; set up its cert_resolver there";
            return Err(SslError::new(SslErrorKind::Configuration, message));
        };
        let path = certificate.as_ref();
        let (resolver, is_used) = resolver.with_certificate(ReloadingCert::from_files(path, key, true)?);
        if !is_used {
            self.warnings.push(format!(
                "the certificate in {} is not used, because the certificates before it have all of its names",
                path.display()
            ));
        }
        let resolver = Arc::new(resolver);
        Arc::make_mut(&mut self.config).cert_resolver = resolver.clone();
        self.resolver = Some(resolver);
        Ok(self)
    }

    /// Uses a rustls configuration. The server uses a copy of it with two changes: ALPN offers only HTTP/1.1, and early
    /// data is disabled.
    pub fn from_config(config: Arc<ServerConfig>) -> SslContext {
        let mut config = Arc::unwrap_or_clone(config);
        restrict_to_http(&mut config);
        SslContext {
            config: Arc::new(config),
            resolver: None,
            clients: ClientPolicy::default(),
            plain_http: PlainHttpPolicy::default(),
            log: default_log(),
            warnings: Vec::new(),
        }
    }

    fn with_default(default: ReloadingCert, log: Arc<dyn Log>) -> Result<SslContext, SslError> {
        let resolver = Arc::new(CertResolver::new(default, log.clone()));
        let clients = ClientPolicy::default();
        let config = Arc::new(server_config(resolver.clone(), &clients)?);
        let plain_http = PlainHttpPolicy::default();
        Ok(SslContext { config, resolver: Some(resolver), clients, plain_http, log, warnings: Vec::new() })
    }

    /// Asks clients for certificates. The file with the authorities is loaded once, by this call.
    ///
    /// # Errors
    /// When the file cannot be read or contains no certificate; and on a context made with
    /// [`from_config`](SslContext::from_config), whose configuration has this setting already.
    pub fn client_certificates(self, wanted: ClientCertificates) -> Result<SslContext, SslError> {
        let authorities = match &wanted {
            ClientCertificates::Off => None,
            ClientCertificates::Optional(path) => Some((load::load_authorities(path)?, true)),
            ClientCertificates::Required(path) => Some((load::load_authorities(path)?, false)),
        };
        let clients = ClientPolicy { authorities, ..self.clients.clone() };
        self.with_clients(clients, "client certificates are")
    }

    /// Sets the oldest version of TLS that clients may use; [`TlsVersion::Tls12`] by default.
    ///
    /// # Errors
    /// When [`ciphers`](SslContext::ciphers) leaves no suite; and on a context made with
    /// [`from_config`](SslContext::from_config), whose configuration has this setting already.
    pub fn min_version(self, min_version: TlsVersion) -> Result<SslContext, SslError> {
        let clients = ClientPolicy { min_version, ..self.clients.clone() };
        self.with_clients(clients, "versions of TLS are")
    }

    /// Sets the cipher suites that clients may use: the names of OpenSSL (`ECDHE-RSA-AES128-GCM-SHA256`) or IANA
    /// (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`), separated by colons, commas or spaces. A version of TLS without a suite in
    /// the list keeps its own, so a list for TLS 1.2 leaves TLS 1.3 as it is, as in OpenSSL.
    ///
    /// # Errors
    /// When rustls has no suite of a name; the message lists those that it has. And on a context made with
    /// [`from_config`](SslContext::from_config), whose configuration has this setting already.
    pub fn ciphers(self, names: &str) -> Result<SslContext, SslError> {
        let ciphers = Some(select_suites(names)?);
        let clients = ClientPolicy { ciphers, ..self.clients.clone() };
        self.with_clients(clients, "cipher suites are")
    }

    /// Sets what clients may and must do. `setting` names it in the message for a context of a rustls configuration.
    fn with_clients(mut self, clients: ClientPolicy, setting: &str) -> Result<SslContext, SslError> {
        let Some(resolver) = &self.resolver else {
            let message = format!("{setting} part of a rustls configuration; set them up there");
            return Err(SslError::new(SslErrorKind::Configuration, message));
        };
        self.config = Arc::new(server_config(resolver.clone(), &clients)?);
        self.clients = clients;
        Ok(self)
    }

    /// Sets what the server does with plain HTTP on its port. The default is a redirect.
    #[must_use]
    pub fn plain_http(mut self, plain_http: PlainHttpPolicy) -> SslContext {
        self.plain_http = plain_http;
        self
    }

    /// Sets the log for changed certificate files that cannot be used, for an ad-hoc certificate that could not be
    /// stored, and for an added certificate that is never used. The default is standard error.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> SslContext {
        if let Some(resolver) = &self.resolver {
            resolver.set_log(log.clone());
        }
        self.log = log;
        self
    }

    /// Loads the files of all certificates again, whether or not they have changed. Does nothing about certificates that
    /// do not come from files.
    ///
    /// # Errors
    /// As for [`from_files`](SslContext::from_files), for the first certificate that cannot be used. Its previous version
    /// then stays in use; the other certificates are loaded nevertheless.
    pub fn reload(&self) -> Result<(), SslError> {
        self.resolver.as_ref().map_or(Ok(()), |resolver| resolver.reload())
    }

    /// Returns the SHA-256 fingerprint of the server's default certificate, as browsers and `openssl x509 -fingerprint -sha256`
    /// show it. `None` for a context made with [`from_config`](SslContext::from_config).
    pub fn fingerprint(&self) -> Option<String> {
        let certified_key = self.resolver.as_ref()?.default_certificate();
        Some(sha256_fingerprint(certified_key.cert.first()?))
    }

    /// Returns the value for [`Settings::transport`](amboss_core::Settings::transport).
    pub fn layer(&self) -> Arc<dyn TransportLayer> {
        for warning in &self.warnings {
            self.log.error(warning);
        }
        Arc::new(TlsLayer { config: self.config.clone(), plain_http: self.plain_http })
    }
}

impl fmt::Debug for SslContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SslContext")
            .field("certificates", &self.resolver)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

struct TlsLayer {
    config: Arc<ServerConfig>,
    plain_http: PlainHttpPolicy,
}

impl TransportLayer for TlsLayer {
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport> {
        Box::new(TlsTransport::new(socket, self.config.clone(), self.plain_http))
    }

    fn scheme(&self) -> &'static str {
        "https"
    }
}

fn default_log() -> Arc<dyn Log> {
    Arc::new(TextLog::stderr())
}

/// The SHA-256 digest in hexadecimal, with colons.
fn sha256_fingerprint(certificate: &[u8]) -> String {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
