//! Advancing a connection as far as possible without blocking, up to what it has to wait for.

use std::io;

use super::state::{CloseMode, State};
use super::{Connection, Step};
use crate::server::io::transport::Handshake;
use crate::server::log::CloseReason;
use crate::server::scheduler::Scheduler;
use crate::server::service::Service;
use crate::server::settings::millis;

/// The maximum number of pipelined requests of one connection that are served in a row while other connections wait.
const REQUESTS_IN_A_ROW: usize = 32;

impl Connection {
    /// Advances the connection as far as possible, and returns what it waits for. `readable`: whether the socket may
    /// have something to read.
    ///
    /// The steps of rarer states are not inlined: every request would pay for the preparation of their code.
    #[inline]
    pub(crate) fn advance(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        mut readable: bool,
        now: u64,
    ) -> Step {
        let mut requests = 0;
        loop {
            let step = match &mut self.state {
                State::ProxyHeader(_) => self.read_proxy_header(service, now),
                State::Handshake { .. } => self.shake_hands(service, now),
                State::Head => {
                    if self.write_buffer.unsent() > service.settings.limits.unsent {
                        return self.flush(service, now);
                    }
                    match self.parse_head(service) {
                        Parsed::Head(length) => {
                            requests += 1;
                            if requests > REQUESTS_IN_A_ROW && scheduler.holds_loop() {
                                return Step::Yield;
                            }
                            self.dispatch(service, scheduler, length)
                        }
                        Parsed::Refused => continue,
                        Parsed::Incomplete => self.read_head(&mut readable, now),
                    }
                }
                State::Collect(_) => self.collect_body(service, scheduler, &mut readable, now),
                State::Respond(_) => self.send_response(service, scheduler),
                State::Detached(_) => return self.continue_task(service, readable, now),
                State::Drain(_) => self.drain_body(service, &mut readable, now),
                State::Linger { .. } => self.linger(service, scheduler, now),
                State::Upgrade(_) if self.write_buffer.unsent() == 0 => return Step::Upgrade,
                State::Closing(_) | State::Upgrade(_) => return Step::Flush,
                State::Closed => return Step::Close,
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Continues the transport's handshake. Returns `None` if the state has changed.
    #[inline(never)]
    fn shake_hands(&mut self, service: &Service, now: u64) -> Option<Step> {
        match self.transport.handshake() {
            Ok(Handshake::Done(session)) => {
                self.handshake_done(session, now);
                None
            }
            Ok(Handshake::NotStarted) => Some(Step::Read),
            Ok(Handshake::Read) => {
                self.handshake_begun(now);
                Some(Step::Read)
            }
            Ok(Handshake::Write) => {
                self.handshake_begun(now);
                Some(Step::Write)
            }
            Err(error) => {
                self.set_close_reason(CloseReason::HandshakeFailed);
                if !is_disconnect(&error) {
                    service
                        .settings
                        .log
                        .error(&format!("TLS handshake with {}: {error}", self.provenance.peers.client));
                }
                self.begin_closing(CloseMode::LINGER);
                None
            }
        }
    }

    /// Looks for a complete head in the buffer.
    #[inline]
    fn parse_head(&mut self, service: &Service) -> Parsed {
        let Some(buffer) = self.read_buffer.as_mut().filter(|buffer| !buffer.is_empty()) else {
            return Parsed::Incomplete;
        };
        match buffer.parser.parse(&buffer.bytes[buffer.start..], buffer.len()) {
            Ok(Some(length)) => Parsed::Head(length),
            Ok(None) => {
                if !self.head_timer_running {
                    self.head_timer_running = true;
                    self.state_entered_at = service.now();
                }
                Parsed::Incomplete
            }
            Err(error) => {
                self.refuse(service, error);
                Parsed::Refused
            }
        }
    }

    /// Reads more of a head. Returns `None` if the caller has to parse the buffer again or to repeat the read.
    #[inline]
    fn read_head(&mut self, readable: &mut bool, now: u64) -> Option<Step> {
        let Some(buffer) = self.read_buffer.as_mut().filter(|_| *readable || self.transport.has_buffered()) else {
            return Some(if self.write_buffer.unsent() > 0 { Step::Flush } else { Step::Read });
        };
        let was_empty = buffer.is_empty();
        let room = buffer.free(1);
        let free = room.len();
        match self.transport.read(room) {
            Ok(0) => {
                self.begin_closing(CloseMode::Immediate);
                return Some(Step::Flush);
            }
            Ok(count) => {
                *readable = count == free;
                buffer.end += count;
                if was_empty {
                    self.state_entered_at = now;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Some(self.peer_gone()),
        }
        None
    }

    /// Discards input until the client closes or the linger timeout has passed. Not inlined, so that no other step needs
    /// stack for its buffer.
    #[inline(never)]
    fn linger(&mut self, service: &Service, scheduler: &mut dyn Scheduler, now: u64) -> Option<Step> {
        if now >= self.state_entered_at + millis(service.settings.timeouts.linger) {
            return Some(self.close());
        }
        let mut discard = [0; 4096];
        match self.transport.read(&mut discard) {
            Ok(0) => Some(self.close()),
            Ok(_) if scheduler.holds_loop() => Some(Step::Yield),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Step::Read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(_) => Some(self.close()),
        }
    }
}

/// The result of parsing the read buffer.
enum Parsed {
    /// A complete head of this length.
    Head(usize),
    Incomplete,
    /// Bytes that are not an HTTP request. A refusal has been written.
    Refused,
}

/// Whether the error only means that the client has disconnected. Browsers do so with connections that they opened in
/// advance.
fn is_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
