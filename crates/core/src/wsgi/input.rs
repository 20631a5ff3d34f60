//! `wsgi.input`: the body of a request. Reading ends at the end of the body, and fails if the body is incomplete.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::ops::Range;

/// The body of a request. It implements `Read` and `BufRead`; reading at the end returns 0 bytes.
///
/// A collected body ([`BodyMode::Collect`](crate::BodyMode), the default) is complete before the application is called,
/// and reading it does not wait for the client. A streamed body is read as it arrives: the first read sends `100
/// Continue` if the client waits for it. A body that is truncated, malformed, too large or too slow is an error (an
/// [`InputError`](crate::InputError) inside the `io::Error`), never an early end.
pub struct Input<'a> {
    source: &'a mut dyn Source,
}

/// The source of the bytes of a body.
pub(crate) trait Source {
    /// The body bytes that are in memory; waits for more if there are none. Empty at the end.
    fn fill(&mut self) -> io::Result<&[u8]>;
    /// Marks this number of bytes of `fill` as read.
    fn consume(&mut self, amount: usize);
    /// Reads directly into a buffer that is large enough for that; `None` if the bytes have to be read with `fill`.
    fn read_directly(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
    /// The number of bytes that are certain to follow; bytes that the client only announced do not count.
    fn at_hand(&self) -> u64;
    /// The length of the whole body; `None` if it is not known before its end.
    fn length(&self) -> Option<u64>;
    /// The whole body, if it is collected.
    fn collected(&self) -> Option<Collected<'_>>;
}

/// A whole request body, in memory or in a file; see [`Input::collected`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Collected<'a> {
    /// The bytes, in memory.
    Bytes(&'a [u8]),
    /// A temporary file without a name, open for reading and writing. The body is the bytes of `range`. The position of
    /// the descriptor is not used: read with `read_at` (Unix) or `seek_read` (Windows).
    File {
        /// The file. It is deleted after the request, unless the descriptor is duplicated (`File::try_clone`).
        file: &'a File,
        /// The bytes of the file that are the body.
        range: Range<u64>,
    },
}

impl<'a> Input<'a> {
    pub(crate) fn new(source: &'a mut dyn Source) -> Input<'a> {
        Input { source }
    }

    /// The length of the whole body in bytes; `None` if it is not known before its end (chunked and streamed).
    pub fn length(&self) -> Option<u64> {
        self.source.length()
    }

    /// The whole body, including the bytes that have been read, if the server collected it; `None` if it is streamed.
    ///
    /// With this, a form parser can refer to parts of an upload instead of writing them to disk again.
    pub fn collected(&self) -> Option<Collected<'_>> {
        self.source.collected()
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(count) = self.source.read_directly(buffer)? {
            return Ok(count);
        }
        let count = self.source.fill()?.read(buffer)?;
        self.source.consume(count);
        Ok(count)
    }

    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let before = buffer.len();
        buffer.try_reserve_exact(usize::try_from(self.source.at_hand()).unwrap_or(usize::MAX))?;
        loop {
            let bytes = self.source.fill()?;
            let count = bytes.len();
            if count == 0 {
                return Ok(buffer.len() - before);
            }
            buffer.extend_from_slice(bytes);
            self.source.consume(count);
        }
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill()
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("length", &self.length()).finish()
    }
}
