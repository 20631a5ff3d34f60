//! The sources of a response's body, opened from what the application returned.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek};

use crate::server::panics::AppOwned;
use crate::server::sys;
use crate::wsgi::{Blocks, Body, FileBlocks, Kind, OnClose};

/// The source of a response's body.
pub(super) enum BodySource {
    Bytes { data: Cow<'static, [u8]>, sent: usize },
    Blocks(AppOwned<Blocks>),
    File { file: File, offset: u64, left: u64, close: Option<AppOwned<OnClose>> },
}

impl BodySource {
    /// Whether dropping the source runs application code, which may take a while.
    pub(super) fn has_close(&self) -> bool {
        !matches!(self, BodySource::Bytes { .. } | BodySource::File { close: None, .. })
    }
}

/// Opens the body that the application returned. Returns its length if it is known.
pub(super) fn open_source(body: Body) -> io::Result<(BodySource, Option<u64>)> {
    match body.0 {
        Kind::Bytes(data) => {
            let length = data.len() as u64;
            Ok((BodySource::Bytes { data, sent: 0 }, Some(length)))
        }
        Kind::Blocks(blocks) => Ok((BodySource::Blocks(AppOwned::new(blocks)), None)),
        Kind::File { file, length, close } => open_file(file, length, close),
    }
}

/// Opens a regular file from its current position on. Anything else is read as blocks.
fn open_file(mut file: File, length: Option<u64>, close: Option<OnClose>) -> io::Result<(BodySource, Option<u64>)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((as_blocks(file, length, close), length));
    }
    let offset = file.stream_position()?;
    // Files that the system generates while they are read, such as those in /proc, report a length of 0.
    if metadata.len() == 0 && !matches!(sys::read_at(&file, &mut [0], offset), Ok(0)) {
        return Ok((as_blocks(file, length, close), None));
    }
    let there = metadata.len().saturating_sub(offset);
    let left = length.map_or(there, |length| length.min(there));
    Ok((BodySource::File { file, offset, left, close: close.map(AppOwned::new) }, Some(left)))
}

/// Turns a file into blocks, because its bytes have to be framed as chunks after the application has called `write`.
pub(super) fn file_as_blocks(source: BodySource) -> BodySource {
    match source {
        BodySource::File { file, left, close, .. } => as_blocks(file, Some(left), close.and_then(AppOwned::into_inner)),
        other => other,
    }
}

fn as_blocks(file: File, left: Option<u64>, close: Option<OnClose>) -> BodySource {
    BodySource::Blocks(AppOwned::new(Box::new(FileBlocks { file, left, _close: close })))
}
