//! Sending the write buffer, and choosing what the connection does next.

use super::state::{CloseMode, ResponseProgress, State, Transfer};
use super::{Connection, Step};
use crate::server::service::Service;

impl Connection {
    /// Sends the write buffer. When everything has been sent, makes the transition that was waiting for the flush.
    #[inline]
    pub(crate) fn flush(&mut self, service: &Service, now: u64) -> Step {
        if let State::Respond(response) = &self.state {
            // A head that has no framing yet waits for the first block.
            if let ResponseProgress::HeadSet { .. } = response.exchange.progress {
                return Step::Yield;
            }
        }
        let before = self.write_buffer.unsent();
        let written = match self.state {
            State::Closing(CloseMode::Linger { .. }) => self.write_buffer.flush_last(&mut *self.transport),
            _ => self.write_buffer.flush(&mut *self.transport),
        };
        match written {
            Ok(true) => {
                self.writing = None;
                self.log_written(service);
                self.after_flush(now)
            }
            Ok(false) => {
                self.note_written(service, before - self.write_buffer.unsent());
                Step::Write
            }
            Err(_) => self.peer_gone(),
        }
    }

    /// Continues after everything has been sent.
    #[inline]
    fn after_flush(&mut self, now: u64) -> Step {
        match &self.state {
            State::ProxyHeader(_) | State::Handshake { .. } => Step::Yield,
            State::Head => {
                let has_more = self.read_buffer.as_ref().is_some_and(|buffer| !buffer.is_empty());
                if has_more || self.transport.has_buffered() {
                    return Step::Yield;
                }
                // The connection is idle from now on.
                self.state_entered_at = now;
                Step::Read
            }
            State::Respond(_) | State::Upgrade(_) => Step::Yield,
            State::Detached(_) => Step::Detached,
            // The rest of a body, or a part of it, may have arrived with the request.
            State::Drain(_) if self.read_buffer.as_ref().is_some_and(|buffer| !buffer.is_empty()) => Step::Yield,
            State::Collect(_) | State::Drain(_) if self.transport.has_buffered() => Step::Yield,
            State::Collect(_) | State::Drain(_) | State::Linger { .. } => Step::Read,
            &State::Closing(CloseMode::Linger { announced }) => self.shut_down_write(announced, now),
            State::Closing(CloseMode::Immediate) => {
                self.transport.close();
                self.close()
            }
            State::Closed => Step::Close,
        }
    }

    /// Closes the sending side, and begins to wait for the client's close.
    fn shut_down_write(&mut self, announced: bool, now: u64) -> Step {
        if self.transport.shutdown_write().is_err() {
            return self.close();
        }
        // No further input is expected that could reset the connection and lose the response. Lingering would add a
        // tenth to the time of a request.
        if announced && self.transport.is_done() {
            return self.close();
        }
        self.clear_buffer();
        self.begin_linger(announced, now);
        if announced {
            Step::AwaitClose
        } else {
            Step::Read
        }
    }

    /// Notes that the socket's send buffer is full after `count` bytes were written. The deadline of a transfer runs
    /// from the first such call.
    pub(super) fn note_written(&mut self, service: &Service, count: usize) {
        let now = service.now();
        let writing = self.writing.get_or_insert_with(|| Transfer::begin(now));
        if count > 0 {
            writing.add(count, now);
        }
    }

    /// Notes that `count` bytes were written, if the deadline of a transfer is running.
    #[inline]
    pub(super) fn continue_writing(&mut self, service: &Service, count: usize) {
        if self.writing.is_some() {
            self.note_written(service, count);
        }
    }
}
