//! The writing half of a connection while the application runs, and the server's side of `start_response`.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use super::connection::Turn;
use super::service::Service;
use super::transport::Transport;
use crate::http::{Answering, BodyWriter, ResponseHead, ResponsePlan, Version};
use crate::wsgi::{AppError, StartError, StartResponse};

/// Bytes that wait to be written: `bytes[sent..]`.
#[derive(Default, Debug)]
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}

impl Out {
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Writes what fits; true when nothing is left.
    #[inline]
    pub(super) fn flush(&mut self, transport: &mut dyn Transport) -> io::Result<bool> {
        let end = self.bytes.len();
        self.flush_to(end, transport)
    }

    /// The same where `shutdown_write` follows at once when nothing is left.
    #[inline]
    pub(super) fn flush_last(&mut self, transport: &mut dyn Transport) -> io::Result<bool> {
        let end = self.bytes.len();
        self.write_to(end, |bytes| transport.write_last(bytes))
    }

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
        self.tidy();
        Ok(true)
    }

    /// Starts over when everything has been sent, and gives back what an unusual answer took.
    #[inline]
    pub(super) fn tidy(&mut self) {
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

/// The first wait for a client, for as long as it is fast: no reason to tell other threads of it.
const SHORT_WAIT: Duration = Duration::from_millis(1);

/// How often a thread that waits asks whether others can go on meanwhile, at first and at last.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// What application-facing code may do with the connection.
pub(super) struct Wire<'w> {
    pub(super) transport: &'w mut dyn Transport,
    pub(super) out: &'w mut Out,
    pub(super) service: &'w Service,
    pub(super) turn: &'w mut dyn Turn,
    /// The client has been waited for for longer than a moment.
    pub(super) is_slow: bool,
    /// Where the head stands that has been set but not sent.
    pub(super) mark: Option<usize>,
    /// The head has been sent.
    pub(super) begun: bool,
}

impl Wire<'_> {
    /// Waits for the transport, up to the deadline of a transfer.
    fn wait(&mut self, writable: bool, started: u64, progress: u64, moved: u64) -> io::Result<()> {
        let now = self.service.now();
        let deadline = self.service.settings.timeouts.transfer_deadline(started, progress, moved);
        let left = Duration::from_millis(deadline.saturating_sub(now));
        let short = if self.is_slow { Duration::ZERO } else { left.min(SHORT_WAIT) };
        if !short.is_zero() && self.transport.wait(writable, short)? {
            return Ok(());
        }
        self.is_slow = true;
        let mut left = left.saturating_sub(short);
        let (mut patience, longest) = ASK_AGAIN;
        while !left.is_zero() {
            if self.turn.begin_wait() {
                let ready = self.transport.wait(writable, left);
                self.turn.end_wait();
                return if ready? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
            }
            if self.transport.wait(writable, patience.min(left))? {
                return Ok(());
            }
            left = left.saturating_sub(patience);
            patience = longest.min(2 * patience);
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Reads at least a byte, or 0 at the end of the stream.
    ///
    /// `received` bytes came before, for which the client kept us waiting for `waited` milliseconds in all: what
    /// counts against the minimum rate is time spent waiting, not time the application takes between its reads.
    pub(super) fn read_patiently(&mut self, buffer: &mut [u8], received: u64, waited: &mut u64) -> io::Result<usize> {
        loop {
            match self.transport.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = self.service.now();
                    let result = self.wait(false, now.saturating_sub(*waited), now, received);
                    *waited += self.service.now() - now;
                    result?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn flush_patiently(&mut self, end: usize) -> io::Result<()> {
        let started = self.service.now();
        let (mut progress, mut moved) = (started, 0);
        loop {
            let unsent = self.out.unsent();
            if self.out.flush_to(end, self.transport)? {
                return Ok(());
            }
            let written = unsent - self.out.unsent();
            if written > 0 {
                progress = self.service.now();
                moved += written as u64;
            }
            self.wait(true, started, progress, moved)?;
        }
    }

    /// Sends `100 Continue`.
    pub(super) fn send_continue(&mut self) -> io::Result<()> {
        self.send_interim(b"HTTP/1.1 100 Continue\r\n\r\n")
    }

    /// Sends an interim answer, behind earlier answers and never inside a head.
    fn send_interim(&mut self, answer: &[u8]) -> io::Result<()> {
        let end = self.mark.unwrap_or(self.out.bytes.len());
        if self.out.sent < end {
            self.flush_patiently(end)?;
        }
        let mut rest = answer;
        let started = self.service.now();
        while !rest.is_empty() {
            match self.transport.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(true, started, started, 0)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How far an answer has come.
pub(super) enum Started {
    No,
    /// Set, and standing in the buffer from the wire's mark on.
    Set(ResponseHead),
    /// Sent, with the body under way.
    Sent {
        head: ResponseHead,
        plan: ResponsePlan,
        writer: BodyWriter,
    },
}

/// The server's `start_response`.
pub(super) struct Starter<'c, 'w> {
    pub(super) wire: &'c RefCell<Wire<'w>>,
    pub(super) answering: Answering,
    pub(super) started: Started,
}

impl StartResponse for Starter<'_, '_> {
    #[inline]
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        match (&self.started, error) {
            (Started::No, _) | (Started::Set(_), Some(_)) => {}
            (_, None) => return Err(StartError::Twice),
            (Started::Sent { .. }, Some(_)) => return Err(StartError::HeadSent),
        }
        let wire = &mut *self.wire.borrow_mut();
        match wire.mark {
            Some(mark) => wire.out.bytes.truncate(mark),
            None => wire.mark = Some(wire.out.bytes.len()),
        }
        match ResponseHead::start(&mut wire.out.bytes, status, fields.iter().copied()) {
            Ok(head) => self.started = Started::Set(head),
            Err(error) => {
                wire.mark = None;
                self.started = Started::No;
                return Err(StartError::Response(error));
            }
        }
        Ok(())
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        if let Started::Sent { .. } = self.started {
            return Err(StartError::HeadSent);
        }
        let mut hints = Vec::new();
        ResponseHead::early_hints(&mut hints, fields.iter().copied()).map_err(StartError::Response)?;
        if self.answering.version != Version::Http11 {
            return Ok(());
        }
        self.wire.borrow_mut().send_interim(&hints).map_err(StartError::Io)
    }

    fn flush(&mut self) -> Result<(), StartError> {
        self.wire.borrow_mut().send_interim(b"").map_err(StartError::Io)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        let wire = &mut *self.wire.borrow_mut();
        if data.is_empty() && !matches!(self.started, Started::No) {
            return Ok(());
        }
        if let Started::Set(head) = self.started {
            let plan = wire.service.finish_head(&head, &mut wire.out.bytes, self.answering, None);
            wire.mark = None;
            wire.begun = true;
            self.started = Started::Sent { head, plan, writer: BodyWriter::new(plan.framing) };
        }
        let Started::Sent { writer, .. } = &mut self.started else { return Err(StartError::NotStarted) };
        writer.append(data, &mut wire.out.bytes);
        let end = wire.out.bytes.len();
        wire.flush_patiently(end).map_err(StartError::Io)
    }
}
