//! The body of a form: bytes or a file that the server collected, or a stream.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use super::error::{FormError, FormErrorKind};
use super::limits::FormLimits;
use super::storage::read_at;

/// The body of a form.
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    /// The body is a range of the file, which need not begin at 0.
    File(&'a File, Range<u64>),
    Stream(&'a mut dyn Read),
}

impl<'a> Source<'a> {
    /// The length of the body, if it is collected.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::File(_, range) => Some(range.end - range.start),
            Source::Stream(_) => None,
        }
    }

    /// The whole body; `None` if it is longer than `limit` bytes.
    pub(super) fn read_all(self, limit: usize) -> io::Result<Option<Cow<'a, [u8]>>> {
        let read = |source: &mut dyn Read| {
            let mut bytes = Vec::new();
            source.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(Cow::Owned(bytes))
        };
        let bytes = match self {
            Source::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Source::File(file, range) => read(&mut FileRange { file, range }),
            Source::Stream(stream) => read(stream),
        };
        bytes.map(|bytes| Some(bytes).filter(|bytes| bytes.len() <= limit))
    }
}

/// Refuses a body of this length if it is larger than the limit of the form.
pub(super) fn check_total(length: u64, limits: &FormLimits) -> Result<(), FormError> {
    match limits.total {
        Some(total) if length > total => Err(FormErrorKind::BodyTooLarge(total).into()),
        _ => Ok(()),
    }
}

/// A reader of a range of a file, which does not use the position of its descriptor.
pub(super) struct FileRange<'a> {
    pub(super) file: &'a File,
    pub(super) range: Range<u64>,
}

impl Read for FileRange<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.end - self.range.start;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = read_at(self.file, &mut buffer[..wanted], self.range.start)?;
        self.range.start += count as u64;
        Ok(count)
    }
}
