//! `wsgi.input`: the body of a request, which ends where the body ends and fails where the body is broken.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::{error, fmt};

use crate::http::Error;

/// The request body. `Read` and `BufRead`; reading past the end gives 0 bytes.
///
/// A collected body ([`BodyMode::Collect`](crate::BodyMode), the default) is complete before the application is called,
/// and reading it waits for no client. A streamed one is read as it arrives: the first read sends `100 Continue` when the
/// client waits for it, and a body that is cut short, malformed, too large or too slow is an error (an [`InputError`]
/// inside the `io::Error`), never an early end.
pub struct Input<'a> {
    source: &'a mut dyn Source,
}

/// Where the bytes of a body come from.
pub(crate) trait Source {
    /// Body bytes that are at hand; waits for more when there are none. Empty at the end.
    fn fill(&mut self) -> io::Result<&[u8]>;
    fn consume(&mut self, amount: usize);
    /// Reads straight into a buffer that is large enough for that; `None` when the bytes come by way of `fill`.
    fn read_directly(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
    /// Bytes that are known to follow, not only announced.
    fn at_hand(&self) -> u64;
    /// The length of the whole body; `None` while only its end will tell.
    fn length(&self) -> Option<u64>;
    /// The whole body, if it was collected.
    fn collected(&self) -> Option<Collected<'_>>;
}

/// A whole request body and where it lies; see [`Input::collected`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Collected<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// In a temporary file without a name. The file is open for reading and writing; the body is the bytes of `range`.
    /// The position of the descriptor is not used, so read with `read_at` (Unix) or `seek_read` (Windows).
    File {
        /// The file, which goes away with the request unless it is duplicated (`File::try_clone`).
        file: &'a File,
        /// The bytes of the file that are the body.
        range: Range<u64>,
    },
}

impl<'a> Input<'a> {
    pub(crate) fn new(source: &'a mut dyn Source) -> Input<'a> {
        Input { source }
    }

    /// The length of the whole body in bytes, or `None` when only its end will tell (chunked and streamed).
    pub fn length(&self) -> Option<u64> {
        self.source.length()
    }

    /// The whole body, whatever has been read of it, when the server collected it before the call; `None` when it is
    /// streamed. With this a form parser can refer to parts of an upload instead of writing them to disk again.
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

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// The client closed the connection before the end.
    Truncated,
    /// The chunked coding is broken.
    Malformed(Error),
    /// More than the server's limit, in bytes.
    TooLarge(u64),
    /// The client sends nothing, or too little, for too long.
    TooSlow,
}

impl InputError {
    /// The status the client deserves.
    pub fn status(&self) -> u16 {
        match self {
            InputError::Truncated => 400,
            InputError::Malformed(error) => error.status(),
            InputError::TooLarge(_) => 413,
            InputError::TooSlow => 408,
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Truncated => f.write_str("the client left before the request body was complete"),
            InputError::Malformed(error) => write!(f, "the request body is malformed: {error}"),
            InputError::TooLarge(limit) => write!(f, "the request body is larger than {limit} bytes"),
            InputError::TooSlow => f.write_str("the request body comes too slowly"),
        }
    }
}

impl error::Error for InputError {}

impl From<InputError> for io::Error {
    fn from(error: InputError) -> io::Error {
        let kind = match error {
            InputError::Truncated => io::ErrorKind::UnexpectedEof,
            InputError::TooSlow => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
