//! Why a certificate, a key or a setting can't be used: a kind for programs, a sentence for people.

use std::fmt;
use std::io;
use std::path::Path;

/// A certificate, key or setting that can't be used. Shown as one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SslError {
    kind: SslErrorKind,
    sentence: String,
}

/// What an [`SslError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SslErrorKind {
    /// A file can't be read.
    Unreadable,
    /// A file or folder can't be written.
    Unwritable,
    /// A file has nothing in it.
    Empty,
    /// A file has something in it that is neither certificate nor key in PEM, or is damaged.
    Malformed,
    /// A file is in DER (binary) where PEM (text) is expected.
    Der,
    /// There is no certificate where one is expected.
    NoCertificate,
    /// There is no private key where one is expected.
    NoKey,
    /// The private key is protected by a passphrase.
    EncryptedKey,
    /// The private key is of a kind or size that is not served with.
    UnsupportedKey,
    /// The private key belongs to another certificate.
    Mismatch,
    /// The certificate's time is over.
    Expired,
    /// A name that can't stand in a certificate.
    Host,
    /// Settings that don't go together, or that rustls refuses.
    Setting,
}

impl SslError {
    pub(crate) fn new(kind: SslErrorKind, sentence: impl Into<String>) -> SslError {
        SslError { kind, sentence: sentence.into() }
    }

    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> SslError {
        let sentence = format!("can't read {}: {error}; is the path right, and may this user read it?", path.display());
        SslError::new(SslErrorKind::Unreadable, sentence)
    }

    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> SslError {
        let sentence = format!("can't write {}: {error}; choose a folder this user may write to", path.display());
        SslError::new(SslErrorKind::Unwritable, sentence)
    }

    /// What it is about.
    pub fn kind(&self) -> SslErrorKind {
        self.kind
    }
}

impl fmt::Display for SslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for SslError {}
