//! The bytes of responses that have not been sent.

use std::io;

use crate::server::io::transport::Transport;

/// A buffer of bytes to send: `bytes[sent..]` has not been sent yet.
#[derive(Default, Debug)]
pub(super) struct WriteBuffer {
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}

impl WriteBuffer {
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends as much as the transport accepts. Returns true if nothing is left.
    #[inline]
    pub(super) fn flush(&mut self, transport: &mut dyn Transport) -> io::Result<bool> {
        let end = self.bytes.len();
        self.flush_to(end, transport)
    }

    /// Sends the last bytes of a connection: the caller calls `shutdown_write` when nothing is left.
    #[inline]
    pub(super) fn flush_last(&mut self, transport: &mut dyn Transport) -> io::Result<bool> {
        let end = self.bytes.len();
        self.write_to(end, |bytes| transport.write_last(bytes))
    }

    /// Sends the bytes before `end`. Returns true if all of them have been sent.
    #[inline]
    pub(super) fn flush_to(&mut self, end: usize, transport: &mut dyn Transport) -> io::Result<bool> {
        self.write_to(end, |bytes| transport.write(bytes))
    }

    #[inline]
    fn write_to(&mut self, end: usize, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while self.sent < end {
            match write(&self.bytes[self.sent..end]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.reset_if_drained();
        Ok(true)
    }

    /// Resets the buffer if everything has been sent, and frees the memory that an unusually long response took.
    #[inline]
    pub(super) fn reset_if_drained(&mut self) {
        const KEPT: usize = 4 * 1024;
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        }
    }
}
