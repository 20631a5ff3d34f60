//! Writing what stands in the buffer, and what comes after it; reading what the application left of a body.

use std::io;

use super::super::log::CloseReason;
use super::super::service::Service;
use super::{After, Connection, State, Step, Transfer};

impl Connection {
    /// Writes what stands in the buffer, and does what was to happen after that.
    #[inline]
    pub(crate) fn settle(&mut self, service: &Service, now: u64) -> Step {
        if let State::Respond(respond) = &self.state {
            // What is not to leave yet waits for its first block.
            if respond.sending.is_none() {
                return Step::Again;
            }
        }
        let before = self.out.unsent();
        let written = match self.state {
            State::Closing(After::Linger { .. }) => self.out.flush_last(&mut *self.transport),
            _ => self.out.flush(&mut *self.transport),
        };
        match written {
            Ok(true) => {
                self.writing = None;
                self.log_written(service);
            }
            Ok(false) => {
                self.note_written(service, before - self.out.unsent());
                return Step::Write;
            }
            Err(error) => return self.lost(error),
        }
        match &self.state {
            State::Handshake { .. } => Step::Again,
            State::Head => {
                let has_more = self.buffer.as_ref().is_some_and(|buffer| !buffer.is_empty());
                if has_more || self.transport.has_buffered() {
                    return Step::Again;
                }
                // Idle from now on.
                self.since = now;
                Step::Read
            }
            State::Respond(_) | State::Upgrade(_) => Step::Again,
            State::Collect(_) | State::Drain(_) if self.transport.has_buffered() => Step::Again,
            State::Collect(_) | State::Drain(_) | State::Linger { .. } => Step::Read,
            &State::Closing(After::Linger { announced }) => {
                if self.transport.shutdown_write().is_err() {
                    return self.end();
                }
                // Then what the client might still send costs it nothing, and lingering would cost a tenth of a request.
                if announced && self.transport.is_done() {
                    return self.end();
                }
                self.clear_buffer();
                self.begin_linger(announced, now);
                if announced {
                    Step::Part
                } else {
                    Step::Read
                }
            }
            State::Closing(After::Close) => {
                self.transport.close();
                self.end()
            }
            State::Closed => Step::Close,
        }
    }

    pub(super) fn note_written(&mut self, service: &Service, count: usize) {
        let now = service.now();
        let writing = self.writing.get_or_insert(Transfer { started: now.max(1), progress: now, moved: 0 });
        if count > 0 {
            writing.progress = now;
            writing.moved += count as u64;
        }
    }

    /// Reads what the application left of a body, up to a bound.
    pub(super) fn drain(&mut self, service: &Service, readable: &mut bool, now: u64) -> Option<Step> {
        if self.reading.started == 0 {
            self.reading = Transfer { started: now.max(1), progress: now, moved: 0 };
        }
        let State::Drain(body) = &mut self.state else { return None };
        let waits = if self.out.unsent() > 0 { Step::Flush } else { Step::Read };
        let Some(buffer) = &mut self.buffer else { return Some(waits) };
        loop {
            while !buffer.is_empty() && !body.is_done() {
                match body.take(&buffer.bytes[buffer.start..buffer.end]) {
                    Ok((used, _)) => {
                        buffer.start += used;
                        self.reading.moved += used as u64;
                        self.reading.progress = now;
                    }
                    Err(_) => {
                        self.state = State::Closing(After::LINGER);
                        return None;
                    }
                }
            }
            if body.is_done() {
                buffer.next_request(0);
                self.since = now;
                self.reading = Transfer::default();
                self.state = State::Head;
                return None;
            }
            if self.reading.moved > service.settings.limits.drain {
                self.set_reason(CloseReason::Undrained);
                self.state = State::Closing(After::LINGER);
                return None;
            }
            if !*readable && !self.transport.has_buffered() {
                // The answer first: the client may be waiting for it before it sends the rest.
                return Some(waits);
            }
            let room = buffer.free(1);
            let free = room.len();
            match self.transport.read(room) {
                Ok(0) => {
                    self.state = State::Closing(After::Close);
                    return None;
                }
                Ok(count) => {
                    *readable = count == free;
                    buffer.end += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(self.lost(error)),
            }
        }
    }
}
