//! The access log: one entry for each response, written when the system has accepted the last byte of the response.

use std::time::{Duration, SystemTime};

use super::read_buffer::ReadBuffer;
use super::state::{Exchange, PendingLog, RequestClock};
use super::Connection;
use crate::http::Head;
use crate::server::log::AccessRecord;
use crate::server::service::Service;
use crate::wsgi::{Forwarded, Peer};

/// The maximum number of bytes that are logged of input that is not an HTTP request.
const MAX_LOGGED_LINE: usize = 100;

impl Connection {
    /// Logs the response to a request whose head is still in the read buffer.
    #[inline]
    pub(super) fn log(&self, service: &Service, exchange: &Exchange, status: u16, bytes: u64) {
        if exchange.clock.completed_at.is_none() {
            return;
        }
        if let Some(buffer) = &self.read_buffer {
            self.log_entry(service, buffer, exchange.head_length, status, bytes, exchange.clock);
        }
    }

    /// Logs the response when the write buffer has been sent. Until then the request's head is kept outside of the read
    /// buffer.
    #[inline]
    pub(super) fn log_when_written(&mut self, service: &Service, exchange: &mut Exchange, status: u16, bytes: u64) {
        if exchange.clock.completed_at.is_none() {
            return;
        }
        if self.write_buffer.unsent() == 0 {
            return self.log(service, exchange, status, bytes);
        }
        let head_length = exchange.head_length;
        let Some(buffer) = self.read_buffer.as_mut() else { return };
        let head = if buffer.len() == exchange.consumed {
            self.read_buffer.take()
        } else {
            exchange.consumed -= head_length;
            Some(Box::new(buffer.split_head(head_length)))
        };
        if let Some(head) = head {
            self.pending_log.push(PendingLog { head, head_length, status, bytes, clock: exchange.clock });
        }
    }

    /// Logs the refusal of the read buffer's content when the response has been sent. The connection has no read buffer
    /// afterwards.
    pub(super) fn log_refusal(&mut self, service: &Service, status: u16, bytes: u64) {
        let mut head = self.read_buffer.take().unwrap_or_else(|| ReadBuffer::with_settings(&service.settings));
        // A well-formed head gives the log more than the first line, whatever the reason for the refusal.
        let parsed = head.parser.parse(&head.bytes[head.start..head.end], head.end - head.start);
        let head_length = parsed.ok().flatten().unwrap_or(0);
        self.pending_log.push(PendingLog { head, head_length, status, bytes, clock: self.clock });
    }

    /// Logs the responses of the write buffer, which have been sent or never will be.
    #[inline]
    pub(crate) fn log_written(&mut self, service: &Service) {
        if self.pending_log.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending_log);
        for PendingLog { mut head, head_length, status, bytes, clock } in pending.drain(..) {
            self.log_entry(service, &head, head_length, status, bytes, clock);
            if self.read_buffer.is_none() {
                // `log_when_written` has taken the connection's own read buffer: put it back.
                head.clear();
                self.read_buffer = Some(head);
            }
        }
        // Keeps the allocation for the next requests of the connection, unless many requests came at once.
        const KEPT: usize = 4;
        if pending.capacity() <= KEPT {
            self.pending_log = pending;
        }
    }

    fn log_entry(
        &self,
        service: &Service,
        buffer: &ReadBuffer,
        head_length: usize,
        status: u16,
        bytes: u64,
        clock: RequestClock,
    ) {
        let unread = buffer.unread();
        let head = (head_length > 0).then(|| buffer.parser.head(&unread[..head_length]));
        let (request_line, target) = match head {
            Some(head) => (head.request_line(), head.target()),
            None => {
                let end = unread.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(unread.len());
                (&unread[..end.min(MAX_LOGGED_LINE)], &b""[..])
            }
        };
        let record = AccessRecord {
            peer: self.client_of(service, head.as_ref()),
            connection_peer: self.provenance.peers.socket,
            request_line,
            target,
            connection: self.extensions.get(),
            head,
            status,
            bytes,
            duration: clock.completed_at.map_or(Duration::ZERO, |completed_at| completed_at.elapsed()),
            waited: clock.queued_for,
            request_id: service.request_ids.as_ref().and_then(|ids| ids.logged(clock.request_id, head.as_ref())),
            time: SystemTime::now(),
        };
        service.with_handler(|handler, log| handler.log_request(&record, log));
    }

    /// Returns the client of a request: the one that a trusted proxy names, else that of the connection.
    #[inline]
    fn client_of(&self, service: &Service, head: Option<&Head<'_>>) -> Peer {
        match head {
            Some(head) if self.provenance.is_trusted && Forwarded::is_in(head) => {
                Forwarded::client(head, service.settings.proxies.rules()).unwrap_or(self.provenance.peers.client)
            }
            _ => self.provenance.peers.client,
        }
    }

    pub(super) fn request_line(&self, head_length: usize) -> &[u8] {
        match &self.read_buffer {
            Some(buffer) => {
                let bytes = &buffer.bytes[buffer.start..buffer.start + head_length];
                buffer.parser.head(bytes).request_line()
            }
            None => b"",
        }
    }
}
