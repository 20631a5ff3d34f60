//! The access log: an entry for each answer, written when its last byte has been handed to the system.

use std::time::{Duration, Instant, SystemTime};

use super::super::buffer::Buffer;
use super::super::log::AccessRecord;
use super::super::service::Service;
use super::answer::Exchange;
use super::Connection;

/// When a request was complete, and how long it then waited for a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestClock {
    /// `None` when nobody will ask.
    pub(super) complete: Option<Instant>,
    pub(super) waited: Duration,
}

/// The answer to a request whose bytes are not all written yet.
pub(super) struct Unlogged {
    /// The head of the request, in a buffer that is not read into meanwhile.
    head: Box<Buffer>,
    /// 0 when there was no well-formed head; then the buffer has what came in its place.
    head_length: usize,
    status: u16,
    bytes: u64,
    clock: RequestClock,
}

/// Of what may be no HTTP at all, a line's worth is logged.
const LINE: usize = 100;

impl Connection {
    /// Logs the answer to a request whose head still stands in the buffer.
    #[inline]
    pub(super) fn log(&self, service: &Service, exchange: &Exchange, status: u16, bytes: u64) {
        if exchange.clock.complete.is_none() {
            return;
        }
        if let Some(buffer) = &self.buffer {
            self.log_entry(service, buffer, exchange.head_length, status, bytes, exchange.clock);
        }
    }

    /// Logs the answer once what stands in the write buffer has been written. The request's bytes leave the read buffer.
    #[inline]
    pub(super) fn log_when_written(&mut self, service: &Service, exchange: &mut Exchange, status: u16, bytes: u64) {
        if exchange.clock.complete.is_none() {
            return;
        }
        if self.out.unsent() == 0 {
            return self.log(service, exchange, status, bytes);
        }
        let head_length = exchange.head_length;
        let Some(buffer) = self.buffer.as_mut() else { return };
        let head = if buffer.len() == exchange.consumed {
            self.buffer.take()
        } else {
            exchange.consumed -= head_length;
            Some(Box::new(buffer.split_head(head_length)))
        };
        if let Some(head) = head {
            self.unlogged.push(Unlogged { head, head_length, status, bytes, clock: exchange.clock });
        }
    }

    /// Logs a refusal of what stands in the buffer, when it has been written. The buffer is empty afterwards.
    pub(super) fn log_refusal(&mut self, service: &Service, status: u16, bytes: u64) {
        let options = || (service.settings.limits.head, service.settings.leniency).into();
        let mut head = self.buffer.take().unwrap_or_else(|| Buffer::new(options()));
        // A head that is well-formed tells more than its first line, whatever the refusal is for.
        let parsed = head.parser.parse(&head.bytes[head.start..head.end], head.end - head.start);
        let head_length = parsed.ok().flatten().unwrap_or(0);
        self.unlogged.push(Unlogged { head, head_length, status, bytes, clock: self.clock });
    }

    /// What stood in the write buffer has been written, or never will be.
    #[inline]
    pub(in crate::server) fn log_written(&mut self, service: &Service) {
        if self.unlogged.is_empty() {
            return;
        }
        let mut unlogged = std::mem::take(&mut self.unlogged);
        for Unlogged { mut head, head_length, status, bytes, clock } in unlogged.drain(..) {
            self.log_entry(service, &head, head_length, status, bytes, clock);
            if self.buffer.is_none() {
                // The read buffer itself: it is used again.
                head.clear();
                self.buffer = Some(head);
            }
        }
        // One allocation for all requests of a connection, unless many came at once.
        const KEPT: usize = 4;
        if unlogged.capacity() <= KEPT {
            self.unlogged = unlogged;
        }
    }

    fn log_entry(
        &self,
        service: &Service,
        buffer: &Buffer,
        head_length: usize,
        status: u16,
        bytes: u64,
        clock: RequestClock,
    ) {
        let there = &buffer.bytes[buffer.start..buffer.end];
        let head = (head_length > 0).then(|| buffer.parser.head(&there[..head_length]));
        let (request_line, target) = match head {
            Some(head) => (head.request_line(), head.target()),
            None => {
                let end = there.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(there.len());
                (&there[..end.min(LINE)], &b""[..])
            }
        };
        let record = AccessRecord {
            peer: self.peer,
            request_line,
            target,
            connection: self.kept.get(),
            head,
            status,
            bytes,
            duration: clock.complete.map_or(Duration::ZERO, |complete| complete.elapsed()),
            waited: clock.waited,
            time: SystemTime::now(),
        };
        service.tell(|handler, log| handler.log_request(&record, log));
    }

    pub(super) fn request_line(&self, head_length: usize) -> &[u8] {
        match &self.buffer {
            Some(buffer) => {
                let bytes = &buffer.bytes[buffer.start..buffer.start + head_length];
                buffer.parser.head(bytes).request_line()
            }
            None => b"",
        }
    }
}
