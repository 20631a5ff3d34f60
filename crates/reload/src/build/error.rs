//! Why a cargo project cannot be used.

use std::fmt;
use std::io;
use std::path::Path;

/// An error of a cargo project. `Display` says what is wrong and what to do.
#[derive(Clone, Debug)]
pub struct CargoError {
    kind: CargoErrorKind,
    sentence: String,
}

/// The kind of a [`CargoError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CargoErrorKind {
    /// Neither the folder nor a folder above it contains a `Cargo.toml`.
    NoManifest,
    /// Cargo cannot be run.
    CargoUnavailable,
    /// Cargo does not accept the `Cargo.toml`.
    InvalidManifest,
}

impl CargoError {
    pub(super) fn no_manifest(from: &Path) -> CargoError {
        let sentence = format!(
            "There is no Cargo.toml in '{}' or a folder above it; start in a cargo project, or create one with `cargo \
             init`.",
            from.display()
        );
        CargoError { kind: CargoErrorKind::NoManifest, sentence }
    }

    pub(super) fn cargo_unavailable(program: &str, error: &io::Error) -> CargoError {
        let sentence = format!("'{program}' can't be run ({error}); install Rust, or set CARGO to the program's path.");
        CargoError { kind: CargoErrorKind::CargoUnavailable, sentence }
    }

    pub(super) fn invalid_manifest(manifest: &Path, reason: &str) -> CargoError {
        let sentence = format!("Cargo can't read '{}'; fix it:\n{}", manifest.display(), reason.trim_end());
        CargoError { kind: CargoErrorKind::InvalidManifest, sentence }
    }

    /// The kind of the error.
    pub fn kind(&self) -> CargoErrorKind {
        self.kind
    }
}

impl fmt::Display for CargoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for CargoError {}
