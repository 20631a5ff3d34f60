//! The variables that applications find in their environ after a handshake.

use amboss_core::HandshakeInfo;
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, ProtocolVersion};

use crate::load::to_pem;

/// The variables of a connection, with the names and values of Apache's mod_ssl, which are OpenSSL's: `SSL_PROTOCOL`,
/// `SSL_CIPHER`, and `SSL_CLIENT_CERT` (PEM) when the client sent a certificate.
pub(crate) fn session(connection: &UnbufferedServerConnection) -> HandshakeInfo {
    let mut session = HandshakeInfo::default();
    session.scheme = "https";
    if let Some(version) = connection.protocol_version() {
        let name = match version {
            ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            other => format!("{other:?}"),
        };
        session.variables.push(("SSL_PROTOCOL", name.into_bytes()));
    }
    if let Some(suite) = connection.negotiated_cipher_suite() {
        session.variables.push(("SSL_CIPHER", cipher_name(suite.suite()).into_bytes()));
    }
    if let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) {
        session.variables.push(("SSL_CLIENT_CERT", to_pem(certificate).into_bytes()));
    }
    session
}

/// OpenSSL's name of a cipher suite. For TLS 1.3, and for suites that are not listed here, it is the name in the IANA
/// registry.
pub(crate) fn cipher_name(suite: CipherSuite) -> String {
    let name = match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        // rustls adds the version to the registry's names of the TLS 1.3 suites.
        other => return format!("{other:?}").replace("TLS13_", "TLS_"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_the_names_of_openssl() {
        assert_eq!(cipher_name(CipherSuite::TLS13_AES_256_GCM_SHA384), "TLS_AES_256_GCM_SHA384");
        assert_eq!(cipher_name(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), "ECDHE-RSA-AES128-GCM-SHA256");
    }
}
