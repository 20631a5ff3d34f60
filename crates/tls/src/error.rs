//! The error type of this crate: a kind for programs and a message for people.

use std::fmt;
use std::io;
use std::path::Path;

/// A certificate, key or setting that cannot be used. Its message says in one line what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SslError {
    kind: SslErrorKind,
    message: String,
}

/// The cause of an [`SslError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SslErrorKind {
    /// A file cannot be read.
    Unreadable,
    /// A file or folder cannot be written.
    Unwritable,
    /// A file is empty.
    Empty,
    /// A file is damaged, or contains a section that is neither a certificate nor a key in PEM.
    Malformed,
    /// A file is in DER (binary), but PEM (text) is required.
    Der,
    /// A file contains no certificate.
    NoCertificate,
    /// A file contains no private key.
    NoKey,
    /// The private key is encrypted with a passphrase.
    EncryptedKey,
    /// The private key has a type or a size that is not supported.
    UnsupportedKey,
    /// The private key does not belong to the certificate.
    KeyMismatch,
    /// The certificate has expired.
    Expired,
    /// A certificate for clients that ask for its names has no DNS name.
    NoName,
    /// A host name or address that a certificate cannot contain.
    InvalidHost,
    /// A combination of settings that is not supported, or that rustls rejects.
    Configuration,
}

impl SslError {
    pub(crate) fn new(kind: SslErrorKind, message: impl Into<String>) -> SslError {
        SslError { kind, message: message.into() }
    }

    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> SslError {
        let message = format!("can't read {}: {error}; check the path and its permissions", path.display());
        SslError::new(SslErrorKind::Unreadable, message)
    }

    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> SslError {
        let message = format!("can't write {}: {error}; choose a folder that this user can write to", path.display());
        SslError::new(SslErrorKind::Unwritable, message)
    }

    /// The cause of the error.
    pub fn kind(&self) -> SslErrorKind {
        self.kind
    }
}

impl fmt::Display for SslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SslError {}
