//! The rustls configuration, and what it says about clients.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{version, RootCertStore, ServerConfig, SupportedCipherSuite};

use crate::error::{SslError, SslErrorKind};
use crate::resolver::CertResolver;
use crate::session::cipher_name;

/// A version of TLS. See [`SslContext::min_version`](crate::SslContext::min_version).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// What clients may and must do.
#[derive(Clone, Default)]
pub(crate) struct ClientPolicy {
    /// The authorities that client certificates are verified against, and whether a client may connect without a
    /// certificate.
    pub(crate) authorities: Option<(RootCertStore, bool)>,
    pub(crate) min_version: TlsVersion,
    /// The cipher suites that clients may use; `None` for all.
    pub(crate) ciphers: Option<Vec<SupportedCipherSuite>>,
}

/// The maximum number of sessions in the cache for clients that resume without tickets. A session takes a few hundred
/// bytes.
const SESSION_CACHE_SIZE: usize = 1024;

/// Returns the cipher suites with these names, and those of each version of TLS that has none among them.
pub(crate) fn select_suites(names: &str) -> Result<Vec<SupportedCipherSuite>, SslError> {
    let supported = ring::default_provider().cipher_suites;
    let mut selected: Vec<SupportedCipherSuite> = Vec::new();
    for name in names.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        let is_named = |suite: &&SupportedCipherSuite| {
            // rustls begins the names for TLS 1.3 in its own way.
            let iana = cipher_name(suite.suite());
            let of_rustls = format!("{:?}", suite.suite());
            [iana.as_str(), &of_rustls, &of_rustls.replacen("TLS13_", "TLS_", 1)].contains(&name)
        };
        let Some(suite) = supported.iter().find(is_named) else {
            let known: Vec<String> = supported.iter().map(|suite| cipher_name(suite.suite())).collect();
            let message = format!("there is no cipher suite {name:?}; those of rustls are {}", known.join(", "));
            return Err(SslError::new(SslErrorKind::Configuration, message));
        };
        selected.push(*suite);
    }
    for version in [&version::TLS13, &version::TLS12] {
        let is_of_version = |suite: &&SupportedCipherSuite| suite.version() == version;
        if !selected.iter().any(|suite| is_of_version(&suite)) {
            selected.extend(supported.iter().filter(is_of_version));
        }
    }
    Ok(selected)
}

/// Builds the rustls configuration.
pub(crate) fn server_config(resolver: Arc<CertResolver>, clients: &ClientPolicy) -> Result<ServerConfig, SslError> {
    let rejected = |error: &dyn fmt::Display| {
        SslError::new(SslErrorKind::Configuration, format!("rustls rejects this configuration: {error}"))
    };
    let mut provider = ring::default_provider();
    if let Some(ciphers) = &clients.ciphers {
        provider.cipher_suites.clone_from(ciphers);
    }
    let provider = Arc::new(provider);
    let versions = [&version::TLS13, &version::TLS12];
    let versions = if clients.min_version == TlsVersion::Tls13 { &versions[..1] } else { &versions[..] };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| rejected(&error))?;
    let builder = match clients.authorities.clone() {
        None => builder.with_no_client_auth(),
        Some((authorities, optional)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| rejected(&error))?)
        }
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.ticketer = ring::Ticketer::new().map_err(|error| rejected(&error))?;
    config.session_storage = ServerSessionMemoryCache::new(SESSION_CACHE_SIZE);
    restrict_to_http(&mut config);
    Ok(config)
}

pub(crate) fn restrict_to_http(config: &mut ServerConfig) {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
}
