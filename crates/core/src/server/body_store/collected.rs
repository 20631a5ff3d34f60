//! Reading a complete body.

use std::fs::File;
use std::io;

use super::store::BodyStore;
use crate::server::sys;
use crate::wsgi::{Collected, Source};

/// How many bytes are read from a file at a time.
pub(super) const READ_BLOCK: usize = 64 * 1024;

/// The body of a request, in the connection's read buffer or in a store, as the application reads it.
pub(in crate::server) struct CollectedBody<'a> {
    whole: Collected<'a>,
    /// How many bytes of the body have been consumed.
    position: u64,
    /// A piece of the file, which begins at `block_start`.
    block: Vec<u8>,
    block_start: u64,
}

impl<'a> CollectedBody<'a> {
    pub(in crate::server) fn of_bytes(bytes: &'a [u8]) -> CollectedBody<'a> {
        CollectedBody { whole: Collected::Bytes(bytes), position: 0, block: Vec::new(), block_start: 0 }
    }

    pub(in crate::server) fn of_store(store: &'a BodyStore) -> CollectedBody<'a> {
        CollectedBody { whole: store.collected(), ..CollectedBody::of_bytes(&[]) }
    }

    fn is_block_consumed(&self) -> bool {
        self.position >= self.block_start + self.block.len() as u64
    }
}

impl Source for CollectedBody<'_> {
    fn fill(&mut self) -> io::Result<&[u8]> {
        let (file, range) = match &self.whole {
            Collected::Bytes(bytes) => return Ok(&bytes[self.position as usize..]),
            Collected::File { file, range } => (file, range),
        };
        if self.is_block_consumed() && self.position < range.end {
            let count = (range.end - self.position).min(READ_BLOCK as u64) as usize;
            self.block.resize(count, 0);
            self.block_start = self.position;
            if let Err(error) = read_exact_at(file, &mut self.block, range.start + self.position) {
                self.block.clear();
                return Err(error);
            }
        }
        let used = (self.position - self.block_start) as usize;
        Ok(self.block.get(used..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let length = self.length().unwrap_or(0);
        self.position = length.min(self.position + amount as u64);
    }

    fn read_directly(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let Collected::File { file, range } = &self.whole {
            // A buffer that is at least as large as the block is filled directly, not through the block.
            if self.is_block_consumed() && buffer.len() >= READ_BLOCK {
                let count = self.at_hand().min(buffer.len() as u64) as usize;
                read_exact_at(file, &mut buffer[..count], range.start + self.position)?;
                self.position += count as u64;
                return Ok(Some(count));
            }
        }
        Ok(None)
    }

    fn at_hand(&self) -> u64 {
        self.length().unwrap_or(0) - self.position
    }

    fn length(&self) -> Option<u64> {
        Some(match &self.whole {
            Collected::Bytes(bytes) => bytes.len() as u64,
            Collected::File { range, .. } => range.end - range.start,
        })
    }

    fn collected(&self) -> Option<Collected<'_>> {
        Some(self.whole.clone())
    }
}

/// Fills a buffer from a file.
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match sys::read_at(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => {
                let message = "the temporary file of the request body is shorter than the body";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
