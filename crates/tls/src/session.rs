//! What a finished handshake tells applications, and what a failed one tells people.

use std::io;

use amboss_core::Session;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, CipherSuite, Error, PeerIncompatible, ProtocolVersion};

/// Keys of the environ, with the names and values of Apache's mod_ssl, which are OpenSSL's: `SSL_PROTOCOL`,
/// `SSL_CIPHER`, and `SSL_CLIENT_CERT` (PEM) when the client gave a certificate.
pub(crate) fn session(connection: &UnbufferedServerConnection) -> Session {
    let mut session = Session::default();
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

/// OpenSSL's name for a cipher suite; the registry's for those of TLS 1.3, where the two agree, and for others.
fn cipher_name(suite: CipherSuite) -> String {
    let name = match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        // rustls spells TLS 1.3's suites with the version in front of what the registry says.
        other => return format!("{other:?}").replace("TLS13_", "TLS_"),
    };
    name.to_owned()
}

/// Encodes a certificate as PEM (RFC 7468), with the line endings of openssl.
pub(crate) fn to_pem(der: &[u8]) -> String {
    pem::encode_config(&Pem::new("CERTIFICATE", der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// A failure as a sentence for the log.
pub(crate) fn explain(error: &Error) -> io::Error {
    use AlertDescription as Alert;
    use PeerIncompatible as Incompatible;
    let sentence = match error {
        Error::AlertReceived(alert) => match alert {
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired => format!(
                "the client does not trust the server's certificate (it says: {}); make it trust the certificate or \
                 the authority behind it, or use one it knows",
                words(alert)
            ),
            Alert::UserCanceled => "the client gave up".to_owned(),
            Alert::ProtocolVersion => "the client speaks neither TLS 1.2 nor 1.3; it has to be updated".to_owned(),
            alert => format!("the client gave up (it says: {})", words(alert)),
        },
        Error::PeerIncompatible(
            Incompatible::Tls12NotOffered
            | Incompatible::Tls12NotOfferedOrEnabled
            | Incompatible::ServerDoesNotSupportTls12Or13
            | Incompatible::ServerTlsVersionIsDisabledByOurConfig
            | Incompatible::SupportedVersionsExtensionRequired
            // Came with TLS 1.2, and is looked for before the version.
            | Incompatible::SignatureAlgorithmsExtensionRequired,
        ) => "the client speaks neither TLS 1.2 nor 1.3; it has to be updated".to_owned(),
        Error::PeerIncompatible(
            Incompatible::NoCipherSuitesInCommon
            | Incompatible::NoKxGroupsInCommon
            | Incompatible::NoSignatureSchemesInCommon
            | Incompatible::NoEcPointFormatsInCommon
            | Incompatible::NamedGroupsExtensionRequired
            | Incompatible::EcPointsExtensionRequired
            | Incompatible::NullCompressionRequired,
        ) => "the client offers only weak or unknown ciphers; it has to be updated".to_owned(),
        Error::NoApplicationProtocol => "the client wants to speak something else than HTTP/1.1".to_owned(),
        Error::NoCertificatesPresented => "the client shows no certificate, and has to".to_owned(),
        Error::InvalidCertificate(why) => format!("the client's certificate is not accepted: {why}"),
        Error::InvalidMessage(_) => "what the client sent is not TLS".to_owned(),
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

/// `UnknownCA` as people say it.
fn words(alert: &AlertDescription) -> String {
    let mut text = String::new();
    let name = format!("{alert:?}");
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            text.push(' ');
        }
        text.push(letter);
        before = letter;
    }
    text.split(' ')
        .map(|word| if word.len() == 2 { word.to_owned() } else { word.to_lowercase() })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn certificates_are_encoded_as_pem() {
        for length in [0, 1, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let text = to_pem(&der);
            assert!(text.lines().all(|line| line.len() <= 64));
            let read = rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(read.as_ref(), der);
        }
    }

    #[test]
    fn ciphers_and_alerts_have_the_names_people_know() {
        assert_eq!(cipher_name(CipherSuite::TLS13_AES_256_GCM_SHA384), "TLS_AES_256_GCM_SHA384");
        assert_eq!(cipher_name(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), "ECDHE-RSA-AES128-GCM-SHA256");
        assert_eq!(words(&AlertDescription::UnknownCA), "unknown CA");
        assert_eq!(words(&AlertDescription::CertificateUnknown), "certificate unknown");
    }
}
