//! The log messages for TLS errors: what happened in the handshake or on the connection, and what to do about it.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

const OUTDATED: &str = "the client supports neither TLS 1.2 nor TLS 1.3; update the client";

/// Turns an error of rustls into an I/O error with a message for the log.
pub(crate) fn to_io_error(error: &Error) -> io::Error {
    use PeerIncompatible as Incompatible;
    let message = match error {
        Error::AlertReceived(alert) => alert_message(*alert),
        Error::PeerIncompatible(
            Incompatible::Tls12NotOffered
            | Incompatible::Tls12NotOfferedOrEnabled
            | Incompatible::ServerDoesNotSupportTls12Or13
            | Incompatible::ServerTlsVersionIsDisabledByOurConfig
            | Incompatible::SupportedVersionsExtensionRequired
            // TLS 1.2 introduced this extension, and rustls checks for it before it checks the version.
            | Incompatible::SignatureAlgorithmsExtensionRequired,
        ) => OUTDATED.to_owned(),
        Error::PeerIncompatible(
            Incompatible::NoCipherSuitesInCommon
            | Incompatible::NoKxGroupsInCommon
            | Incompatible::NoSignatureSchemesInCommon
            | Incompatible::NoEcPointFormatsInCommon
            | Incompatible::NamedGroupsExtensionRequired
            | Incompatible::EcPointsExtensionRequired
            | Incompatible::NullCompressionRequired,
        ) => "the client offers only weak or unknown ciphers; update the client".to_owned(),
        Error::NoApplicationProtocol => {
            "the client does not offer HTTP/1.1 (ALPN), the only protocol of this server".to_owned()
        }
        Error::NoCertificatesPresented => "the client sent no certificate, but one is required".to_owned(),
        Error::InvalidCertificate(why) => format!("the client's certificate was rejected: {why}"),
        Error::InvalidMessage(_) => "the client sent an invalid TLS message".to_owned(),
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn alert_message(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired => format!(
            "the client does not trust the server's certificate (alert: {}); make the client trust the certificate or \
             its issuer, or use a certificate that it trusts already",
            alert_name(alert)
        ),
        Alert::UserCanceled => "the client canceled the handshake".to_owned(),
        Alert::ProtocolVersion => OUTDATED.to_owned(),
        alert => format!("the client ended the connection (alert: {})", alert_name(alert)),
    }
}

/// The name of an alert as words: `UnknownCA` becomes `unknown CA`.
fn alert_name(alert: AlertDescription) -> String {
    let mut text = String::new();
    let name = format!("{alert:?}");
    let mut previous = ' ';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && previous.is_ascii_lowercase() {
            text.push(' ');
        }
        text.push(letter);
        previous = letter;
    }
    text.split(' ')
        .map(|word| if word.len() == 2 { word.to_owned() } else { word.to_lowercase() })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_in_words() {
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown CA");
        assert_eq!(alert_name(AlertDescription::CertificateUnknown), "certificate unknown");
    }
}
