//! Loading certificates and keys from PEM files, with an error message for everything that can be wrong with them.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::RootCertStore;

use crate::cert_info::CertInfo;
use crate::error::{SslError, SslErrorKind};

/// The tag of a DER SEQUENCE, which certificates, keys and PKCS#12 files begin with.
const SEQUENCE: u8 = 0x30;

/// A PEM file in memory. The path is for error messages.
#[derive(Clone, Copy)]
pub(crate) struct PemFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) content: &'a [u8],
}

/// Loads and checks a certificate chain and its key. Without `key_path`, the key is in the certificate's file.
pub(crate) fn load_certified_key(
    certificate_path: &Path,
    key_path: Option<&Path>,
) -> Result<Arc<CertifiedKey>, SslError> {
    let content = read_file(certificate_path)?;
    let certificate = PemFile { path: certificate_path, content: &content };
    match key_path.filter(|path| *path != certificate_path) {
        None => parse_certified_key(certificate, certificate),
        Some(path) => parse_certified_key(certificate, PemFile { path, content: &read_file(path)? }),
    }
}

/// Parses and checks a certificate chain and its key.
pub(crate) fn parse_certified_key(certificate: PemFile<'_>, key: PemFile<'_>) -> Result<Arc<CertifiedKey>, SslError> {
    let chain = parse_certificates(certificate)?;
    let der = parse_private_key(key, certificate.path == key.path)?;
    let signing_key = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| {
        let message = format!(
            "the key in {} has an unsupported type or size; create an RSA key of 2048 to 8192 bits (openssl genrsa \
             2048), an ECDSA key on P-256 or P-384, or an Ed25519 key, and a certificate for it",
            key.path.display()
        );
        SslError::new(SslErrorKind::UnsupportedKey, message)
    })?;
    let infos: Vec<Option<CertInfo>> = chain.iter().map(|certificate| CertInfo::parse(certificate)).collect();
    if let Some(public_key) = signing_key.public_key() {
        check_key_belongs(&infos, &public_key, certificate.path, key.path)?;
    }
    if let Some(info) = &infos[0] {
        check_expiry(info, certificate.path)?;
    }
    Ok(Arc::new(CertifiedKey::new(chain, signing_key)))
}

fn check_key_belongs(
    chain: &[Option<CertInfo>],
    public_key: &[u8],
    certificate_path: &Path,
    key_path: &Path,
) -> Result<(), SslError> {
    let belongs = |info: &Option<CertInfo>| info.as_ref().is_none_or(|info| info.public_key == public_key);
    let shown = certificate_path.display();
    if belongs(&chain[0]) {
        return Ok(());
    }
    let message = if chain.iter().skip(1).any(belongs) {
        format!(
            "the certificates in {shown} are in the wrong order; put the server's own certificate first, and those of \
             its issuers after it"
        )
    } else {
        format!(
            "the key in {} does not belong to the certificate in {shown}; use the key that the certificate was issued \
             for",
            key_path.display()
        )
    };
    Err(SslError::new(SslErrorKind::KeyMismatch, message))
}

/// Refuses an expired certificate. A certificate that is not valid yet is accepted: the clock of this machine may be
/// wrong.
fn check_expiry(info: &CertInfo, path: &Path) -> Result<(), SslError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    if info.not_after >= now {
        return Ok(());
    }
    let days = (now - info.not_after) / (24 * 3600);
    let message =
        format!("the certificate in {} expired {days} days ago, so clients reject it; renew it", path.display());
    Err(SslError::new(SslErrorKind::Expired, message))
}

/// Loads the authorities that client certificates are verified against.
pub(crate) fn load_authorities(path: &Path) -> Result<RootCertStore, SslError> {
    let content = read_file(path)?;
    let mut store = RootCertStore::empty();
    for certificate in parse_certificates(PemFile { path, content: &content })? {
        store.add(certificate).map_err(|error| malformed(path, &error.to_string()))?;
    }
    Ok(store)
}

/// Reads a file that is not empty.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, SslError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let mut content = std::fs::read(path).map_err(|error| SslError::unreadable(path, &error))?;
    if content.starts_with(BYTE_ORDER_MARK) {
        // Some editors write one. The PEM parser would not recognise a first line that begins with it.
        content.drain(..BYTE_ORDER_MARK.len());
    }
    if content.iter().all(u8::is_ascii_whitespace) {
        let message = format!("{} is empty; it has to contain a certificate or a key in PEM", path.display());
        return Err(SslError::new(SslErrorKind::Empty, message));
    }
    Ok(content)
}

/// Encodes a certificate as PEM (RFC 7468), with the line endings that openssl writes.
pub(crate) fn to_pem(certificate: &[u8]) -> String {
    pem::encode_config(&Pem::new("CERTIFICATE", certificate), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

fn parse_certificates(file: PemFile<'_>) -> Result<Vec<CertificateDer<'static>>, SslError> {
    let certificates: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(file.content).collect();
    let certificates = certificates.map_err(|error| malformed(file.path, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(binary_file_error(file).unwrap_or_else(|| {
            let message = format!(
                "there is no certificate in {}; it has to contain a section that begins with -----BEGIN \
                 CERTIFICATE-----",
                file.path.display()
            );
            SslError::new(SslErrorKind::NoCertificate, message)
        }));
    }
    if certificates.iter().any(|certificate| certificate.first() != Some(&SEQUENCE)) {
        return Err(malformed(file.path, "a section for a certificate contains something else"));
    }
    Ok(certificates)
}

/// Finds the private key in a file. `beside_certificate`: whether the certificate is in the same file.
fn parse_private_key(file: PemFile<'_>, beside_certificate: bool) -> Result<PrivateKeyDer<'static>, SslError> {
    let contains = |text: &[u8]| file.content.windows(text.len()).any(|window| window == text);
    // Older versions of openssl encrypt keys this way (RFC 1421 §4.6.1.1).
    let has_encryption_header = contains(b"Proc-Type: 4,ENCRYPTED");
    let error = match PrivateKeyDer::from_pem_slice(file.content) {
        Ok(key) if !has_encryption_header => return Ok(key),
        Ok(_) => PemError::NoItemsFound,
        Err(error) => error,
    };
    let shown = file.path.display();
    if has_encryption_header || contains(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let message = format!(
            "the key in {shown} is encrypted with a passphrase; store it without one: openssl pkey -in {shown} -out \
             plain.key"
        );
        return Err(SslError::new(SslErrorKind::EncryptedKey, message));
    }
    if !matches!(error, PemError::NoItemsFound) {
        return Err(malformed(file.path, &error.to_string()));
    }
    Err(binary_file_error(file).unwrap_or_else(|| {
        let message = if beside_certificate {
            format!(
                "there is no private key in {shown} next to the certificate; add it, or name the key's own file too"
            )
        } else {
            format!(
                "there is no private key in {shown}; it has to contain a section that begins with -----BEGIN PRIVATE \
                 KEY----- or one of its older forms"
            )
        };
        SslError::new(SslErrorKind::NoKey, message)
    }))
}

/// The error for a file in DER, with the command that converts it. The first elements tell a certificate, a key and
/// PKCS#12 apart.
fn binary_file_error(file: PemFile<'_>) -> Option<SslError> {
    let sequence = match file.content {
        [SEQUENCE, 0x82, _, _, content @ ..] | [SEQUENCE, 0x81, _, content @ ..] => content,
        [SEQUENCE, length, content @ ..] if usize::from(*length) == content.len() => content,
        _ => return None,
    };
    let shown = file.path.display();
    let command = match sequence {
        // PKCS#12 begins with version 3 (RFC 7292 §4).
        [0x02, 0x01, 0x03, ..] => format!("openssl pkcs12 -in {shown} -nodes -out both.pem"),
        [0x02, ..] => format!("openssl pkey -inform DER -in {shown} -out key.pem"),
        _ => format!("openssl x509 -inform DER -in {shown} -out cert.pem"),
    };
    let message = format!("{shown} is binary (DER), but text (PEM) is required; convert it: {command}");
    Some(SslError::new(SslErrorKind::Der, message))
}

fn malformed(path: &Path, what: &str) -> SslError {
    let message = format!("{} is damaged: {what}; copy or create it again", path.display());
    SslError::new(SslErrorKind::Malformed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_encoded_as_pem() {
        for length in [0, 1, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let text = to_pem(&der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap().as_ref(), der);
        }
    }
}
