//! Certificates and keys from PEM files, and what is wrong with those that can't be used.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::RootCertStore;

use crate::cert_info::CertInfo;
use crate::error::{SslError, SslErrorKind};

/// The tag of a DER SEQUENCE, which certificates, keys and PKCS#12 files begin with.
const SEQUENCE: u8 = 0x30;

/// A certificate with its chain and its key, checked. Without a path of its own the key is in the certificate's file.
pub(crate) fn identity(certificate: &Path, key: Option<&Path>) -> Result<Arc<CertifiedKey>, SslError> {
    let text = read(certificate)?;
    match key.filter(|key| *key != certificate) {
        None => identity_of((certificate, &text), (certificate, &text)),
        Some(key) => identity_of((certificate, &text), (key, &read(key)?)),
    }
}

/// The same from what was read already. The paths are for sentences.
pub(crate) fn identity_of(
    (certificate_path, certificate): (&Path, &[u8]),
    (key_path, key): (&Path, &[u8]),
) -> Result<Arc<CertifiedKey>, SslError> {
    let chain = certificates(certificate_path, certificate)?;
    let same = certificate_path == key_path;
    let key = private_key(key_path, key, same)?;
    let shown = key_path.display();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| {
        let sentence = format!(
            "the key in {shown} is of a kind that can't be served with; make an RSA key of 2048 to 8192 bits (openssl \
             genrsa 2048), an ECDSA key on P-256 or P-384, or an Ed25519 key, and a certificate for it"
        );
        SslError::new(SslErrorKind::UnsupportedKey, sentence)
    })?;
    let infos: Vec<Option<CertInfo>> = chain.iter().map(|certificate| CertInfo::parse(certificate)).collect();
    if let Some(public_key) = key.public_key() {
        let belongs = |info: &Option<CertInfo>| info.as_ref().is_none_or(|info| info.public_key == public_key.as_ref());
        let path = certificate_path.display();
        if !belongs(&infos[0]) {
            let sentence = if infos.iter().skip(1).any(belongs) {
                format!(
                    "the certificates in {path} are in the wrong order; put the server's own first, those that \
                     vouch for it behind it"
                )
            } else {
                format!(
                    "the key in {shown} does not belong to the certificate in {path}; give the two that were made \
                     together"
                )
            };
            return Err(SslError::new(SslErrorKind::Mismatch, sentence));
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    // One that begins in the future is served all the same: the clock that is wrong may be this machine's.
    if let Some(ended) = infos[0].as_ref().map(|info| info.not_after).filter(|&not_after| not_after < now) {
        let days = (now - ended) / (24 * 3600);
        let sentence = format!(
            "the certificate in {} expired {days} days ago, and clients refuse it; renew it, or make another",
            certificate_path.display()
        );
        return Err(SslError::new(SslErrorKind::Expired, sentence));
    }
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// The authorities whose client certificates are accepted.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, SslError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, &read(path)?)? {
        store.add(certificate).map_err(|error| malformed(path, &error.to_string()))?;
    }
    Ok(store)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, SslError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let mut bytes = std::fs::read(path).map_err(|error| SslError::unreadable(path, &error))?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        // Some editors put one before the first line, which would no longer be found.
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let sentence = format!("{} is empty; put a certificate or key in PEM there", path.display());
        return Err(SslError::new(SslErrorKind::Empty, sentence));
    }
    Ok(bytes)
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, SslError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| malformed(path, &error.to_string()))?;
    if found.is_empty() {
        return Err(binary(path, bytes).unwrap_or_else(|| {
            let sentence = format!(
                "there is no certificate in {}; it has to have a part that begins with -----BEGIN CERTIFICATE-----",
                path.display()
            );
            SslError::new(SslErrorKind::NoCertificate, sentence)
        }));
    }
    if found.iter().any(|certificate| certificate.first() != Some(&SEQUENCE)) {
        return Err(malformed(path, "what stands as a certificate is none"));
    }
    Ok(found)
}

fn private_key(path: &Path, bytes: &[u8], beside_certificate: bool) -> Result<PrivateKeyDer<'static>, SslError> {
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    // RFC 1421 §4.6.1.1, as older versions of openssl write it.
    let encrypted_headers = holds(b"Proc-Type: 4,ENCRYPTED");
    let error = match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) if !encrypted_headers => return Ok(key),
        Ok(_) => pem::Error::NoItemsFound,
        Err(error) => error,
    };
    let path_shown = path.display();
    if encrypted_headers || holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let sentence = format!(
            "the key in {path_shown} is protected by a passphrase; write it without one: openssl pkey -in {path_shown} \
             -out plain.key"
        );
        return Err(SslError::new(SslErrorKind::EncryptedKey, sentence));
    }
    if !matches!(error, pem::Error::NoItemsFound) {
        return Err(malformed(path, &error.to_string()));
    }
    Err(binary(path, bytes).unwrap_or_else(|| {
        let sentence = if beside_certificate {
            format!(
                "there is no private key in {path_shown} beside the certificate; add it there, or give the key's own \
                 file too"
            )
        } else {
            format!(
                "there is no private key in {path_shown}; it has to have a part that begins with -----BEGIN PRIVATE \
                 KEY----- or one of its older forms"
            )
        };
        SslError::new(SslErrorKind::NoKey, sentence)
    }))
}

/// The sentence for a file in DER, by what its first elements look like.
fn binary(path: &Path, bytes: &[u8]) -> Option<SslError> {
    let content = match bytes {
        [SEQUENCE, 0x82, _, _, content @ ..] | [SEQUENCE, 0x81, _, content @ ..] => content,
        [SEQUENCE, length, content @ ..] if usize::from(*length) == content.len() => content,
        _ => return None,
    };
    let shown = path.display();
    let command = match content {
        // PKCS#12 begins with version 3.
        [0x02, 0x01, 0x03, ..] => format!("openssl pkcs12 -in {shown} -nodes -out both.pem"),
        [0x02, ..] => format!("openssl pkey -inform DER -in {shown} -out key.pem"),
        _ => format!("openssl x509 -inform DER -in {shown} -out cert.pem"),
    };
    let sentence = format!("{shown} is binary (DER) where text (PEM) is wanted; convert it: {command}");
    Some(SslError::new(SslErrorKind::Der, sentence))
}

fn malformed(path: &Path, what: &str) -> SslError {
    let sentence = format!("{} is damaged: {what}; get it again from where it was made", path.display());
    SslError::new(SslErrorKind::Malformed, sentence)
}
