//! Why a scope cannot be made.

use std::fmt;
use std::path::Path;

/// An error in the options of a [`Scope`](crate::Scope). `Display` says what is wrong and what to do.
#[derive(Clone, Debug)]
pub struct ScopeError {
    kind: ScopeErrorKind,
    sentence: String,
}

/// The kind of a [`ScopeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeErrorKind {
    /// A glob that cannot be parsed.
    Glob,
    /// A file or folder that does not exist.
    Missing,
}

impl ScopeError {
    pub(super) fn missing(path: &Path, what: &str) -> ScopeError {
        let sentence = format!("'{}', {what}, isn't there; create it, or correct the path.", path.display());
        ScopeError { kind: ScopeErrorKind::Missing, sentence }
    }

    pub(super) fn invalid_glob(pattern: &Path, reason: &dyn fmt::Display) -> ScopeError {
        let sentence = format!(
            "The pattern '{}' among the extra files can't be parsed ({reason}); fix it, or put brackets around a \
             special character that is meant literally, as in [*].",
            pattern.display()
        );
        ScopeError { kind: ScopeErrorKind::Glob, sentence }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ScopeErrorKind {
        self.kind
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for ScopeError {}
