//! The body of a request as it arrives: how much of it is left, and reading it while the application waits for it.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use super::settings::Settings;
use super::wire::Wire;
use crate::http::{BodyLength, ChunkedDecoder, Framing};
use crate::wsgi::{Collected, InputError, Source};

/// How far a body has been read. Survives the application's call, since what is left has to be drained.
#[derive(Debug)]
pub(super) struct BodyState {
    coding: Coding,
    declared: Option<u64>,
    received: u64,
    limit: Option<u64>,
    /// Milliseconds the client has kept the application waiting.
    waited: u64,
    /// The client waits for `100 Continue`.
    pub(super) continue_pending: bool,
    pub(super) failed: Option<InputError>,
}

#[derive(Debug)]
enum Coding {
    Left(u64),
    Chunked(Box<ChunkedDecoder>),
}

impl BodyState {
    /// The body that follows a head, of at most `limit` bytes.
    #[inline]
    pub(super) fn new(framing: &Framing, settings: &Settings, limit: Option<u64>) -> BodyState {
        let (coding, declared) = match framing.body {
            BodyLength::Known(length) => (Coding::Left(length), Some(length)),
            BodyLength::Chunked => (Coding::Chunked(Box::new(ChunkedDecoder::new(settings.limits.chunked))), None),
        };
        BodyState {
            coding,
            declared,
            received: 0,
            limit,
            waited: 0,
            continue_pending: framing.expects_continue,
            failed: None,
        }
    }

    /// A body that has been read to its end.
    #[inline]
    pub(super) fn read() -> BodyState {
        BodyState {
            coding: Coding::Left(0),
            declared: None,
            received: 0,
            limit: None,
            waited: 0,
            continue_pending: false,
            failed: None,
        }
    }

    /// How much is still to come.
    pub(super) fn left(&self) -> BodyLength {
        match &self.coding {
            Coding::Left(left) => BodyLength::Known(*left),
            Coding::Chunked(_) => BodyLength::Chunked,
        }
    }

    /// So many bytes of a body of known length were read elsewhere.
    pub(super) fn skip(&mut self, count: usize) {
        if let Coding::Left(left) = &mut self.coding {
            *left = left.saturating_sub(count as u64);
        }
        self.received += count as u64;
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        match &self.coding {
            Coding::Left(left) => *left == 0,
            Coding::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Can the connection be used again once what is left has been read and thrown away?
    #[inline]
    pub(super) fn is_drainable(&self, drain: u64) -> bool {
        match &self.coding {
            _ if self.failed.is_some() => false,
            Coding::Left(0) => true,
            // Whether an unasked-for body is sent after all, nobody can tell.
            _ if self.continue_pending => false,
            Coding::Left(left) => *left <= drain,
            Coding::Chunked(_) => true,
        }
    }

    /// Takes body bytes from the front of `input`: how many are used up, and where data stands among them.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Range<usize>), InputError> {
        let (used, data) = match &mut self.coding {
            Coding::Left(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                (count, 0..count)
            }
            Coding::Chunked(decoder) => {
                let step = decoder.decode(input).map_err(InputError::Malformed)?;
                (step.consumed, step.data)
            }
        };
        self.received += data.len() as u64;
        // A chunk that will be too large is not waited for.
        let announced = match &self.coding {
            Coding::Left(_) => 0,
            Coding::Chunked(decoder) => decoder.left_of_chunk(),
        };
        match self.limit {
            Some(limit) if self.received.saturating_add(announced) > limit => Err(InputError::TooLarge(limit)),
            _ => Ok((used, data)),
        }
    }
}

/// Reads a body for the application: from the connection's buffer behind the head, and then from the transport.
pub(super) struct StreamedBody<'c, 'w> {
    pub(super) wire: &'c RefCell<Wire<'w>>,
    pub(super) state: &'c mut BodyState,
    /// The buffer behind the head.
    pub(super) bytes: &'c mut [u8],
    /// Not looked at yet.
    pub(super) unread: Range<usize>,
    /// Body data that the application has not consumed.
    pub(super) ready: Range<usize>,
}

/// Waits for more of the body; 0 bytes can't come of it.
fn receive(wire: &RefCell<Wire<'_>>, state: &mut BodyState, buffer: &mut [u8]) -> Result<usize, InputError> {
    let mut wire = wire.borrow_mut();
    // Behind the beginning of the answer it would be taken for a part of the body.
    if state.continue_pending && !wire.begun {
        state.continue_pending = false;
        wire.send_continue().map_err(|_| InputError::Truncated)?;
    }
    match wire.read_patiently(buffer, state.received, &mut state.waited) {
        Ok(0) => Err(InputError::Truncated),
        Ok(count) => {
            state.continue_pending = false;
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(InputError::TooSlow),
        Err(_) => Err(InputError::Truncated),
    }
}

impl StreamedBody<'_, '_> {
    fn advance(&mut self) -> Result<(), InputError> {
        while self.ready.is_empty() && !self.state.is_done() {
            if self.unread.is_empty() {
                self.unread = 0..receive(self.wire, self.state, self.bytes)?;
            }
            let (used, data) = self.state.take(&self.bytes[self.unread.clone()])?;
            let start = self.unread.start;
            self.ready = start + data.start..start + data.end;
            self.unread.start += used;
        }
        Ok(())
    }
}

impl Source for StreamedBody<'_, '_> {
    fn fill(&mut self) -> io::Result<&[u8]> {
        if let Some(error) = self.state.failed {
            return Err(error.into());
        }
        if let Err(error) = self.advance() {
            self.state.failed = Some(error);
            return Err(error.into());
        }
        Ok(&self.bytes[self.ready.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.ready.start = self.ready.end.min(self.ready.start + amount);
    }

    fn read_directly(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let nothing_read = self.ready.is_empty() && self.unread.is_empty() && self.state.failed.is_none();
        let left = match self.state.left() {
            BodyLength::Known(left) if left > 0 && nothing_read && buffer.len() >= self.bytes.len().max(1) => left,
            _ => return Ok(None),
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match receive(self.wire, self.state, &mut buffer[..most]) {
            Ok(count) => {
                self.state.skip(count);
                Ok(Some(count))
            }
            Err(error) => {
                self.state.failed = Some(error);
                Err(error.into())
            }
        }
    }

    fn at_hand(&self) -> u64 {
        0
    }

    fn length(&self) -> Option<u64> {
        self.state.declared
    }

    fn collected(&self) -> Option<Collected<'_>> {
        None
    }
}
