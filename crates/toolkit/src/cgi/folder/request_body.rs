//! The body of a request on its way to a script.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use amboss_core::{Collected, Input};

/// Where the body comes from.
pub(super) enum RequestBody {
    /// There is none.
    None,
    /// A collected body, which can be read at any time.
    Collected(Box<dyn Read + Send>),
    /// A body that the client is still sending. It can only be read while the application is called.
    Streamed,
}

impl RequestBody {
    /// Finds out what the input is. A copy of a body in memory is not larger than the server's limit for that
    /// (`Limits::body_memory`).
    pub(super) fn of(input: &Input<'_>, has_body: bool) -> io::Result<RequestBody> {
        Ok(match input.collected() {
            _ if !has_body => RequestBody::None,
            Some(Collected::Bytes(bytes)) => RequestBody::Collected(Box::new(Cursor::new(bytes.to_vec()))),
            Some(Collected::File { file, range }) => {
                RequestBody::Collected(Box::new(FileRange { file: file.try_clone()?, range }))
            }
            _ => RequestBody::Streamed,
        })
    }
}

/// A part of a file, which is read without changing the position of the descriptor.
struct FileRange {
    file: File,
    range: Range<u64>,
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.range.start)?;
        self.range.start += count as u64;
        Ok(count)
    }
}
