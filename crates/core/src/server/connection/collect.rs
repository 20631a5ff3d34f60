//! Collecting the body of a request before the application is called, without occupying a thread.

use std::io;
use std::time::Instant;

use super::request_body::RequestBody;
use super::state::{CollectedRequest, State, Transfer};
use super::{Connection, Step};
use crate::http::{BodyLength, Framing};
use crate::server::body_store::{BodyStore, StoreError};
use crate::server::handler::BodyMode;
use crate::server::scheduler::Scheduler;
use crate::server::service::Service;
use crate::wsgi::{InputError, InputErrorKind};

/// The maximum number of bytes of one body that are read in a row while other connections wait.
const BYTES_IN_A_ROW: usize = 256 * 1024;

/// The result of one read of a body.
enum Received {
    /// This number of bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    End,
    PeerGone,
}

impl Connection {
    /// Asks the request handler how to read the body of the request, whose head has `length` bytes.
    pub(super) fn body_mode(&self, service: &Service, length: usize) -> BodyMode {
        let default = service.settings.body_mode;
        let Some(buffer) = &self.read_buffer else { return default };
        let head = buffer.parser.head(&buffer.unread()[..length]);
        service.ask_handler(default, |handler| handler.body_mode(head, default))
    }

    /// Begins to collect the body behind a head of `length` bytes.
    pub(super) fn collect(&mut self, service: &Service, length: usize, framing: &Framing) {
        let Some(buffer) = &mut self.read_buffer else { return };
        let head = buffer.split_head(length);
        let limits = &service.settings.limits;
        let limit = limits.body.map_or(limits.collected_body, |limit| limit.min(limits.collected_body));
        let body = RequestBody::new(framing, &service.settings, Some(limit));
        if framing.expects_continue && buffer.is_empty() {
            // Unnecessary if some of the body has arrived already (RFC 9110 §10.1.1).
            self.write_buffer.bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let transfer = Transfer::begin(service.now());
        let declared = match framing.body {
            BodyLength::Known(length) => Some(length),
            BodyLength::Chunked => None,
        };
        let store = BodyStore::new(service.body_budget.clone(), declared);
        self.begin_collecting(CollectedRequest { head, body, store, transfer });
    }

    /// Reads the body as far as it has arrived. Returns `None` if the state has changed.
    #[inline(never)]
    pub(super) fn collect_body(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        readable: &mut bool,
        now: u64,
    ) -> Option<Step> {
        let limits = &service.settings.limits;
        let mut read_in_a_row = 0;
        loop {
            let queued_for = self.end_queueing();
            let State::Collect(request) = &mut self.state else { return None };
            if self.read_buffer.is_none() {
                return Some(Step::Read);
            }
            request.transfer.exclude(queued_for);
            if let Err(error) = self.store_buffered(service) {
                self.refuse_body(service, error);
                return None;
            }
            let State::Collect(request) = &mut self.state else { return None };
            let CollectedRequest { body, store, .. } = &mut **request;
            let is_done = body.is_done();
            if store.needs_write(limits) && !is_done || is_done && store.has_unwritten_rest() {
                match self.write_body_out(service, scheduler) {
                    Ok(None) => continue,
                    Ok(step) => return step,
                    Err(error) => {
                        service.settings.log.error(&error.to_string());
                        self.refuse_unavailable(service);
                        return None;
                    }
                }
            }
            if is_done {
                self.body = self.end_collecting();
                if let Some(store) = &mut self.body {
                    store.free_memory();
                }
                return None;
            }
            if !*readable && !self.transport.has_buffered() {
                // The responses to earlier requests, and `100 Continue`, are sent first.
                return Some(if self.write_buffer.unsent() > 0 { Step::Flush } else { Step::Read });
            }
            if read_in_a_row > BYTES_IN_A_ROW && scheduler.holds_loop() {
                return Some(Step::Yield);
            }
            match self.receive_body(service, readable, now) {
                Received::Bytes(count) => read_in_a_row += count,
                Received::Nothing => {}
                Received::End => {
                    self.refuse_body(service, InputErrorKind::Truncated.into());
                    return None;
                }
                Received::PeerGone => return Some(self.peer_gone()),
            }
        }
    }

    /// Moves bytes from the read buffer into the body's store, until the store has to be written to its file.
    fn store_buffered(&mut self, service: &Service) -> Result<(), InputError> {
        let limits = &service.settings.limits;
        let (State::Collect(request), Some(buffer)) = (&mut self.state, &mut self.read_buffer) else { return Ok(()) };
        let CollectedRequest { body, store, .. } = &mut **request;
        while !buffer.is_empty() && !body.is_done() && !store.needs_write(limits) {
            let (used, data) = body.take(buffer.unread())?;
            store.append(&buffer.unread()[data], limits);
            buffer.start += used;
        }
        Ok(())
    }

    /// Reads more of the body. A body of known length is read directly into its store; a chunked one goes through the
    /// read buffer, where it is decoded.
    fn receive_body(&mut self, service: &Service, readable: &mut bool, now: u64) -> Received {
        let (State::Collect(request), Some(buffer)) = (&mut self.state, &mut self.read_buffer) else {
            return Received::Nothing;
        };
        let CollectedRequest { body, store, transfer, .. } = &mut **request;
        let left = match body.left() {
            BodyLength::Known(left) if buffer.is_empty() => Some(left),
            _ => None,
        };
        let room = match left {
            Some(left) => store.spare_capacity(left, &service.settings.limits),
            None => buffer.free(1),
        };
        let free = room.len();
        match self.transport.read(room) {
            Ok(0) => Received::End,
            Ok(count) => {
                *readable = count == free;
                transfer.add(count, now);
                if left.is_some() {
                    store.fill(count);
                    body.skip(count);
                } else {
                    buffer.end += count;
                }
                Received::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *readable = false;
                Received::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Nothing,
            Err(_) => Received::PeerGone,
        }
    }

    /// Writes the body's memory to its temporary file. This is a blocking call for the scheduler, so other connections
    /// do not wait for it. Returns a step if the write has to wait because too many threads are writing already.
    fn write_body_out(&mut self, service: &Service, scheduler: &mut dyn Scheduler) -> Result<Option<Step>, StoreError> {
        let State::Collect(request) = &mut self.state else { return Ok(None) };
        if !scheduler.begin_file_write() {
            self.queued_at.get_or_insert_with(Instant::now);
            return Ok(Some(Step::Queued));
        }
        let settings = &service.settings;
        let result = request.store.write_out(settings.body_directory.as_deref(), &settings.limits);
        scheduler.end_file_write();
        service.exit_blocking(scheduler);
        result.map(|()| None)
    }
}
