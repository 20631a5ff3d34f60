//! [`Found`].

use std::borrow::Cow;
use std::fs::{File, Metadata};

/// What answers a request.
// Nearly all values are files, so a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub(super) enum Found<'p> {
    File {
        file: File,
        metadata: Metadata,
        path: Cow<'p, [u8]>,
        is_fallback: bool,
    },
    /// There is something at another spelling of the path: with a slash at its end, or with single slashes.
    Redirect {
        slash: bool,
    },
    Listing,
    Denied,
}

impl Found<'_> {
    pub(super) fn into_owned(self) -> Found<'static> {
        match self {
            Found::File { file, metadata, path, is_fallback } => {
                Found::File { file, metadata, path: Cow::Owned(path.into_owned()), is_fallback }
            }
            Found::Redirect { slash } => Found::Redirect { slash },
            Found::Listing => Found::Listing,
            Found::Denied => Found::Denied,
        }
    }
}
