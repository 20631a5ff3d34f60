//! Files that are stored compressed beside the original.

use std::fs::{File, Metadata};
use std::io;

use crate::negotiation::coding::{accepted_codings, Coding};

use super::root::{Lookup, Opened};

/// Opens the best of the files beside `path` whose coding the client accepts. One that is older than the original is
/// out of date, and is not used.
pub(super) fn open(
    root: &Opened,
    path: &[u8],
    original: &Metadata,
    accept_encoding: &[u8],
) -> io::Result<Option<(Coding, File, Metadata)>> {
    let modified = original.modified().ok();
    for coding in accepted_codings(accept_encoding) {
        let beside = [path, coding.extension().as_bytes()].concat();
        if let Lookup::File(file, metadata) = root.look_up(&beside)? {
            if metadata.modified().ok() >= modified {
                return Ok(Some((coding, file, metadata)));
            }
        }
    }
    Ok(None)
}
