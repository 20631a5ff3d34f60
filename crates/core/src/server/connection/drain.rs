//! Reading and discarding the part of a body that the application has not read, so that the next request can follow.

use std::io;

use super::state::{CloseMode, State, Transfer};
use super::{Connection, Step};
use crate::server::log::CloseReason;
use crate::server::service::Service;

impl Connection {
    /// Discards more of the body, up to a limit. Returns `None` if the state has changed.
    #[inline(never)]
    pub(super) fn drain_body(&mut self, service: &Service, readable: &mut bool, now: u64) -> Option<Step> {
        if !self.draining.has_begun() {
            self.draining = Transfer::begin(now);
        }
        let State::Drain(body) = &mut self.state else { return None };
        let wait = if self.write_buffer.unsent() > 0 { Step::Flush } else { Step::Read };
        let Some(buffer) = &mut self.read_buffer else { return Some(wait) };
        loop {
            while !buffer.is_empty() && !body.is_done() {
                match body.take(buffer.unread()) {
                    Ok((used, _)) => {
                        buffer.start += used;
                        self.draining.add(used, now);
                    }
                    Err(_) => {
                        self.begin_closing(CloseMode::LINGER);
                        return None;
                    }
                }
            }
            if body.is_done() {
                self.end_draining(now);
                return None;
            }
            if self.draining.transferred > service.settings.limits.drain {
                self.set_close_reason(CloseReason::Undrained);
                self.begin_closing(CloseMode::LINGER);
                return None;
            }
            if !*readable && !self.transport.has_buffered() {
                // The response is sent first: the client may wait for it before it sends the rest of the body.
                return Some(wait);
            }
            let room = buffer.free(1);
            let free = room.len();
            match self.transport.read(room) {
                Ok(0) => {
                    self.begin_closing(CloseMode::Immediate);
                    return None;
                }
                Ok(count) => {
                    *readable = count == free;
                    buffer.end += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Some(self.peer_gone()),
            }
        }
    }
}
