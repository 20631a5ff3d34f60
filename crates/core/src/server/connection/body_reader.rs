//! The implementation of `wsgi.input` for a body that is read while the application runs.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use super::blocking_io::BlockingIo;
use super::request_body::RequestBody;
use super::state::ResponseProgress;
use crate::http::BodyLength;
use crate::wsgi::{Collected, InputError, InputErrorKind, Source};

/// A reader of a body: first from the connection's read buffer behind the head, then from the transport.
pub(super) struct BodyReader<'c, 'i> {
    pub(super) io: &'c RefCell<BlockingIo<'i>>,
    pub(super) body: &'c mut RequestBody,
    /// The read buffer behind the head.
    pub(super) bytes: &'c mut [u8],
    /// The part of `bytes` that has arrived but has not been decoded.
    pub(super) unread: Range<usize>,
    /// The part of `bytes` that is decoded data which the application has not consumed.
    pub(super) ready: Range<usize>,
}

/// Waits until at least one more byte of the body has arrived.
fn receive(io: &RefCell<BlockingIo<'_>>, body: &mut RequestBody, buffer: &mut [u8]) -> Result<usize, InputError> {
    let mut io = io.borrow_mut();
    // After the head of the final response, an interim response would be read as part of the response body.
    if body.continue_pending && !matches!(io.progress, ResponseProgress::Streaming { .. }) {
        body.continue_pending = false;
        io.send_continue().map_err(|_| InputErrorKind::Truncated)?;
    }
    match io.read_blocking(buffer, body.received, &mut body.waited) {
        Ok(0) => Err(InputErrorKind::Truncated.into()),
        Ok(count) => {
            body.continue_pending = false;
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(InputErrorKind::TooSlow.into()),
        Err(_) => Err(InputErrorKind::Truncated.into()),
    }
}

impl BodyReader<'_, '_> {
    fn advance(&mut self) -> Result<(), InputError> {
        while self.ready.is_empty() && !self.body.is_done() {
            if self.unread.is_empty() {
                self.unread = 0..receive(self.io, self.body, self.bytes)?;
            }
            let (used, data) = self.body.take(&self.bytes[self.unread.clone()])?;
            let start = self.unread.start;
            self.ready = start + data.start..start + data.end;
            self.unread.start += used;
        }
        Ok(())
    }
}

impl Source for BodyReader<'_, '_> {
    fn fill(&mut self) -> io::Result<&[u8]> {
        if let Some(error) = self.body.failed {
            return Err(error.into());
        }
        if let Err(error) = self.advance() {
            self.body.failed = Some(error);
            return Err(error.into());
        }
        Ok(&self.bytes[self.ready.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.ready.start = self.ready.end.min(self.ready.start + amount);
    }

    fn read_directly(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let nothing_read = self.ready.is_empty() && self.unread.is_empty() && self.body.failed.is_none();
        let left = match self.body.left() {
            BodyLength::Known(left) if left > 0 && nothing_read && buffer.len() >= self.bytes.len().max(1) => left,
            _ => return Ok(None),
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match receive(self.io, self.body, &mut buffer[..most]) {
            Ok(count) => {
                self.body.skip(count);
                Ok(Some(count))
            }
            Err(error) => {
                self.body.failed = Some(error);
                Err(error.into())
            }
        }
    }

    fn at_hand(&self) -> u64 {
        0
    }

    fn length(&self) -> Option<u64> {
        self.body.declared()
    }

    fn collected(&self) -> Option<Collected<'_>> {
        None
    }
}
