//! What a server speaks TLS with: a certificate, and what clients may and have to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss_core::{Log, Socket, TextLog, Transport, TransportLayer};
use rustls::crypto::ring;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{version, RootCertStore, ServerConfig};

use crate::adhoc;
use crate::error::{SslError, SslErrorKind};
use crate::files;
use crate::plain_http::PlainHttpPolicy;
use crate::read;
use crate::renew::Renewed;
use crate::transport::TlsTransport;

/// What clients have to show. See [`SslContext::client_certificates`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// They are not asked for a certificate.
    #[default]
    Off,
    /// They are asked, and may have none. One that is shown has to be vouched for by an authority in this PEM file.
    Optional(PathBuf),
    /// Without a certificate that is vouched for by an authority in this PEM file there is no connection.
    Required(PathBuf),
}

/// What a server speaks TLS with. Its [`layer`](SslContext::layer) goes into
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
/// TLS 1.2 and 1.3 are spoken, with the ciphers rustls has (all of them with forward secrecy), HTTP/1.1 is agreed on
/// where the client asks (ALPN), and sessions are resumed: by tickets, whose keys this process makes and changes every
/// six hours, or from a bounded cache.
///
/// Applications find `SSL_PROTOCOL` (`TLSv1.2`, `TLSv1.3`), `SSL_CIPHER` (OpenSSL's name of the cipher, as in Apache's
/// mod_ssl) and `SSL_CLIENT_CERT` (PEM, when the client showed a certificate) in their environ.
#[derive(Clone)]
pub struct SslContext {
    config: Arc<ServerConfig>,
    /// `None` when the configuration came ready-made.
    certificate: Option<Arc<Renewed>>,
    plain_http: PlainHttpPolicy,
    log: Arc<dyn Log>,
    /// What is to be told when serving begins.
    remark: Option<String>,
}

/// Sessions that are kept for clients that resume without tickets: enough for a browser's worth of clients each, a few
/// hundred bytes apiece.
const SESSIONS: usize = 1024;

impl SslContext {
    /// With a certificate that is made here and now, vouched for by nobody, for localhost and its addresses. It is kept
    /// in the user's cache folder and used again, so that a browser asks once whether to trust it; its key is
    /// readable by this user only. Where it can't be kept, a line in the log says so.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn adhoc() -> Result<SslContext, SslError> {
        SslContext::adhoc_for(&[])
    }

    /// As [`adhoc`](SslContext::adhoc), for these hosts as well: names, or addresses the server listens on.
    ///
    /// # Errors
    /// When a host can't stand in a certificate.
    pub fn adhoc_for(hosts: &[&str]) -> Result<SslContext, SslError> {
        SslContext::adhoc_kept(files::cache_folder(), hosts)
    }

    /// As [`adhoc_for`](SslContext::adhoc_for), kept in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// As [`adhoc_for`](SslContext::adhoc_for).
    pub fn adhoc_in(folder: impl Into<PathBuf>, hosts: &[&str]) -> Result<SslContext, SslError> {
        SslContext::adhoc_kept(Some(folder.into()), hosts)
    }

    fn adhoc_kept(folder: Option<PathBuf>, hosts: &[&str]) -> Result<SslContext, SslError> {
        let log = default_log();
        let (identity, remark) = adhoc::identity(folder, hosts)?;
        let context = SslContext::with_certificate(Renewed::fixed(identity, log.clone()), log)?;
        Ok(SslContext { remark, ..context })
    }

    /// With a certificate in a PEM file, its chain behind it, and its private key (PKCS#8, PKCS#1 or SEC1), which may
    /// stand in the same file.
    ///
    /// Files that change are read again when the next client comes, at most once a second. When they can't be used, the
    /// certificate of before stays in use, and the log says why.
    ///
    /// # Errors
    /// When a file can't be read or is not in PEM, when there is no key or it is encrypted, of an unknown kind or does
    /// not belong to the certificate, and when the certificate has expired. The error's sentence says what to do.
    pub fn from_files(certificate: impl AsRef<Path>, key: Option<&Path>) -> Result<SslContext, SslError> {
        let log = default_log();
        SslContext::with_certificate(Renewed::from_files(certificate.as_ref(), key, log.clone())?, log)
    }

    /// With a configuration of your own. In the copy that is served with, two things are as this server needs them:
    /// ALPN offers HTTP/1.1 and nothing else, and there is no early data.
    pub fn from_config(config: Arc<ServerConfig>) -> SslContext {
        let mut config = Arc::unwrap_or_clone(config);
        speak_http(&mut config);
        SslContext {
            config: Arc::new(config),
            certificate: None,
            plain_http: PlainHttpPolicy::default(),
            log: default_log(),
            remark: None,
        }
    }

    fn with_certificate(certificate: Renewed, log: Arc<dyn Log>) -> Result<SslContext, SslError> {
        let certificate = Arc::new(certificate);
        let config = Arc::new(configuration(certificate.clone(), None)?);
        Ok(SslContext {
            config,
            certificate: Some(certificate),
            plain_http: PlainHttpPolicy::default(),
            log,
            remark: None,
        })
    }

    /// Asks clients for certificates. The file of authorities is read now and not again.
    ///
    /// # Errors
    /// When the file can't be read or holds no certificate, and on a context made
    /// [`from_config`](SslContext::from_config), where the configuration says this already.
    pub fn client_certificates(mut self, wanted: ClientCertificates) -> Result<SslContext, SslError> {
        let Some(certificate) = &self.certificate else {
            let sentence = "a rustls configuration says itself which client certificates it wants; set it up there";
            return Err(SslError::new(SslErrorKind::Setting, sentence));
        };
        let authorities = match &wanted {
            ClientCertificates::Off => None,
            ClientCertificates::Optional(path) => Some((read::authorities(path)?, true)),
            ClientCertificates::Required(path) => Some((read::authorities(path)?, false)),
        };
        self.config = Arc::new(configuration(certificate.clone(), authorities)?);
        Ok(self)
    }

    /// What becomes of plain HTTP on this port; a redirect by default.
    #[must_use]
    pub fn plain_http(mut self, plain_http: PlainHttpPolicy) -> SslContext {
        self.plain_http = plain_http;
        self
    }

    /// Where to tell of changed certificate files that can't be used, and of an adhoc certificate that could not be
    /// kept; standard error by default.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> SslContext {
        if let Some(certificate) = &self.certificate {
            certificate.set_log(log.clone());
        }
        self.log = log;
        self
    }

    /// Reads the certificate's files again now, also when they look as they did: those of a context made
    /// [`from_files`](SslContext::from_files). Other contexts stay as they are.
    ///
    /// # Errors
    /// As [`from_files`](SslContext::from_files); the certificate of before stays in use.
    pub fn reload(&self) -> Result<(), SslError> {
        self.certificate.as_ref().map_or(Ok(()), |certificate| certificate.reload())
    }

    /// The SHA-256 fingerprint of the server's certificate, as browsers and `openssl x509 -fingerprint -sha256` show
    /// it; `None` for a context made [`from_config`](SslContext::from_config).
    pub fn fingerprint(&self) -> Option<String> {
        let identity = self.certificate.as_ref()?.current();
        Some(fingerprint(identity.cert.first()?))
    }

    /// What goes into [`Settings::transport`](amboss_core::Settings::transport).
    pub fn layer(&self) -> Arc<dyn TransportLayer> {
        if let Some(remark) = &self.remark {
            self.log.error(remark);
        }
        Arc::new(Layer { config: self.config.clone(), plain_http: self.plain_http })
    }
}

impl fmt::Debug for SslContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SslContext")
            .field("certificate", &self.certificate)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

struct Layer {
    config: Arc<ServerConfig>,
    plain_http: PlainHttpPolicy,
}

impl TransportLayer for Layer {
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

fn configuration(
    certificate: Arc<Renewed>,
    authorities: Option<(RootCertStore, bool)>,
) -> Result<ServerConfig, SslError> {
    let refused = |error: &dyn fmt::Display| {
        SslError::new(SslErrorKind::Setting, format!("rustls refuses this configuration: {error}"))
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| refused(&error))?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some((authorities, optional)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(&error))?)
        }
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.ticketer = ring::Ticketer::new().map_err(|error| refused(&error))?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    speak_http(&mut config);
    Ok(config)
}

fn speak_http(config: &mut ServerConfig) {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
}

/// SHA-256 in hexadecimal with colons.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
