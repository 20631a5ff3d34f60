//! The body of a request that no connection stands behind.

use std::io::{self, BufRead, BufReader, Read};

use crate::wsgi::error::{InputError, InputErrorKind};
use crate::wsgi::input::{Collected, Source};

/// The body of a request without a connection.
pub(super) enum UnconnectedInput {
    /// Complete, as after [`BodyMode::Collect`](crate::BodyMode::Collect).
    Bytes { bytes: Vec<u8>, position: usize },
    /// Read as it arrives, as with [`BodyMode::Stream`](crate::BodyMode::Stream).
    Reader { reader: BufReader<Box<dyn Read + Send>>, length: Option<u64>, position: u64 },
}

impl UnconnectedInput {
    /// Makes the next read start at the beginning of a complete body. A stream continues where it is.
    pub(super) fn rewind(&mut self) {
        if let UnconnectedInput::Bytes { position, .. } = self {
            *position = 0;
        }
    }
}

impl Source for UnconnectedInput {
    fn fill(&mut self) -> io::Result<&[u8]> {
        match self {
            UnconnectedInput::Bytes { bytes, position } => Ok(&bytes[*position..]),
            UnconnectedInput::Reader { reader, length, position } => {
                let left = length.map_or(u64::MAX, |length| length - *position);
                if left == 0 {
                    return Ok(b"");
                }
                let bytes = reader.fill_buf()?;
                if bytes.is_empty() && length.is_some() {
                    return Err(InputError::from(InputErrorKind::Truncated).into());
                }
                Ok(&bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))])
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            UnconnectedInput::Bytes { bytes, position } => *position = bytes.len().min(*position + amount),
            UnconnectedInput::Reader { reader, position, .. } => {
                reader.consume(amount);
                *position += amount as u64;
            }
        }
    }

    fn read_directly(&mut self, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }

    fn at_hand(&self) -> u64 {
        match self {
            UnconnectedInput::Bytes { bytes, position } => (bytes.len() - position) as u64,
            UnconnectedInput::Reader { reader, .. } => reader.buffer().len() as u64,
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            UnconnectedInput::Bytes { bytes, .. } => Some(bytes.len() as u64),
            UnconnectedInput::Reader { length, .. } => *length,
        }
    }

    fn collected(&self) -> Option<Collected<'_>> {
        match self {
            UnconnectedInput::Bytes { bytes, .. } => Some(Collected::Bytes(bytes)),
            UnconnectedInput::Reader { .. } => None,
        }
    }
}
