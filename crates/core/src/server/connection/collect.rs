//! Collecting the body of a request before the application is called, without a thread.

use std::io;
use std::time::Instant;

use super::super::body_store::{BodyStore, StoreError};
use super::super::buffer::Buffer;
use super::super::log::CloseReason;
use super::super::service::Service;
use super::super::settings::BodyMode;
use super::super::streamed_body::BodyState;
use super::{Connection, State, Step, Transfer, Turn};
use crate::http::{BodyLength, Framing};
use crate::wsgi::InputError;

/// Bytes of one body that are read in a row while other connections wait.
const BYTES_IN_A_ROW: usize = 256 * 1024;

/// A request whose body is arriving.
pub(super) struct Collect {
    /// The head, in a buffer of just its size, so that a slow client does not hold a read buffer.
    head: Buffer,
    body: BodyState,
    store: BodyStore,
    pub(super) transfer: Transfer,
}

impl Connection {
    /// How the body of the request is read whose head has `length` bytes.
    pub(super) fn body_mode(&self, service: &Service, length: usize) -> BodyMode {
        let default = service.settings.body_mode;
        let Some(buffer) = &self.buffer else { return default };
        let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.start + length]);
        service.ask(default, |handler| handler.body_mode(head, default))
    }

    /// Begins to collect the body behind a head of `length` bytes.
    pub(super) fn begin_collect(&mut self, service: &Service, length: usize, framing: &Framing) {
        let Some(buffer) = &mut self.buffer else { return };
        let head = buffer.split_head(length);
        let limits = &service.settings.limits;
        let limit = limits.body.map_or(limits.collected_body, |limit| limit.min(limits.collected_body));
        let body = BodyState::new(framing, &service.settings, Some(limit));
        if framing.expects_continue && buffer.is_empty() {
            // RFC 9110 §10.1.1: not needed when some of the body is there already.
            self.out.bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let now = service.now();
        let transfer = Transfer { started: now.max(1), progress: now, moved: 0 };
        let announced = match framing.body {
            BodyLength::Known(length) => Some(length),
            BodyLength::Chunked => None,
        };
        let store = BodyStore::new(service.body_budget.clone(), announced);
        self.state = State::Collect(Box::new(Collect { head, body, store, transfer }));
    }

    /// Takes the head back into the connection's buffer, in front of what follows the body.
    pub(super) fn end_collect(&mut self) -> Option<BodyStore> {
        let State::Collect(collect) = std::mem::replace(&mut self.state, State::Head) else { return None };
        let Collect { head, store, .. } = *collect;
        match &mut self.buffer {
            Some(buffer) => buffer.restore_head(head),
            none => *none = Some(Box::new(head)),
        }
        Some(store)
    }

    /// The request is refused while its body arrives.
    pub(super) fn fail_collect(&mut self, service: &Service, error: InputError) {
        self.end_collect();
        self.set_reason(match error {
            InputError::TooSlow => CloseReason::BodyTimeout,
            InputError::Malformed(error) => CloseReason::Refused(error),
            InputError::TooLarge(_) => CloseReason::Undrained,
            InputError::Truncated => CloseReason::ClientLeft,
        });
        self.answer_error(service, error.status(), &error.to_string());
    }

    /// Reads the body as far as it has arrived; `None` when the state has changed.
    pub(super) fn collect(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        readable: &mut bool,
        now: u64,
    ) -> Option<Step> {
        let limits = &service.settings.limits;
        let mut read_in_a_row = 0;
        loop {
            let waited = self.end_queue();
            let State::Collect(collect) = &mut self.state else { return None };
            let Some(buffer) = &mut self.buffer else { return Some(Step::Read) };
            collect.transfer.delay(waited);
            while !buffer.is_empty() && !collect.body.is_done() && !collect.store.needs_write(limits) {
                match collect.body.take(&buffer.bytes[buffer.start..buffer.end]) {
                    Ok((used, data)) => {
                        let data = buffer.start + data.start..buffer.start + data.end;
                        collect.store.append(&buffer.bytes[data], limits);
                        buffer.start += used;
                    }
                    Err(error) => {
                        self.fail_collect(service, error);
                        return None;
                    }
                }
            }
            let done = collect.body.is_done();
            if collect.store.needs_write(limits) && !done || done && collect.store.has_unwritten_rest() {
                match self.write_out(service, turn) {
                    Ok(None) => continue,
                    Ok(step) => return step,
                    Err(error) => {
                        service.settings.log.error(&error.to_string());
                        self.refuse_unavailable(service);
                        return None;
                    }
                }
            }
            if done {
                self.body = self.end_collect();
                if let Some(store) = &mut self.body {
                    store.free_memory();
                }
                return None;
            }
            if !*readable && !self.transport.has_buffered() {
                // The answers to earlier requests, and `100 Continue`.
                return Some(if self.out.unsent() > 0 { Step::Flush } else { Step::Read });
            }
            if read_in_a_row > BYTES_IN_A_ROW && turn.leads() {
                return Some(Step::Again);
            }
            // A body of known length is read to where it stays; the chunked coding has to be removed on the way.
            let stored = match collect.body.left() {
                BodyLength::Known(left) if buffer.is_empty() => {
                    let room = collect.store.room(left, limits);
                    let free = room.len();
                    self.transport.read(room).map(|count| (count, free, true))
                }
                _ => {
                    let room = buffer.free(1);
                    let free = room.len();
                    self.transport.read(room).map(|count| (count, free, false))
                }
            };
            match stored {
                Ok((0, ..)) => {
                    self.fail_collect(service, InputError::Truncated);
                    return None;
                }
                Ok((count, free, stored)) => {
                    *readable = count == free;
                    read_in_a_row += count;
                    collect.transfer.progress = now;
                    collect.transfer.moved += count as u64;
                    if stored {
                        collect.store.fill(count);
                        collect.body.skip(count);
                    } else {
                        buffer.end += count;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(self.lost(error)),
            }
        }
    }

    /// Writes to the temporary file, as the application is called: not by the thread that others wait for. A step when
    /// that has to wait, since too many threads wait for the disk already.
    fn write_out(&mut self, service: &Service, turn: &mut dyn Turn) -> Result<Option<Step>, StoreError> {
        let State::Collect(collect) = &mut self.state else { return Ok(None) };
        if !turn.begin_write() {
            self.queued_at.get_or_insert_with(Instant::now);
            return Ok(Some(Step::Turn));
        }
        let settings = &service.settings;
        let result = collect.store.write_out(settings.body_directory.as_deref(), &settings.limits);
        turn.end_write();
        service.back(turn);
        result.map(|()| None)
    }
}
