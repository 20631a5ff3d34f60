//! A request that its application answers after its call has returned: in a task of another event loop, which drives the
//! server as a [`Guest`](crate::Guest).
//!
//! The task calls the methods here through the guest. None of them waits. Where one has to wait for the client, it says so
//! and notes it, and the connection resumes the task when its socket is ready, when it has failed, or when the client has
//! been too slow; the task then repeats the call.

use std::fs::File;
use std::io;

use super::body_source::{open_source, BodySource};
use super::response::COPIED;
use super::response_writer::{check_can_set_head, set_head};
use super::state::{Detached, DetachedInput, Exchange, PendingFile, Response, ResponseProgress, State};
use super::write_buffer::WriteBuffer;
use super::{Connection, Step};
use crate::http::{ResponseFraming, ResponseHead, Version};
use crate::server::body_store::{BodyStore, CollectedBody};
use crate::server::connection::read_buffer::ReadBuffer;
use crate::server::hijack::Hijacked;
use crate::server::io::poller::PollInterest;
use crate::server::log::CloseReason;
use crate::server::scheduler::SingleThread;
use crate::server::service::Service;
use crate::server::sys;
use crate::wsgi::{
    AppError, Body, FailureResponse, InputErrorKind, ResponseFilter, Source, StartError, StartErrorKind,
};

/// The maximum number of bytes of a file that are sent in a row while other connections wait.
const FILE_IN_A_ROW: u64 = 4 << 20;
/// The maximum number of bytes requested from one `sendfile` call, and read from a file at once where that is not possible.
const FILE_SEND: u64 = 1 << 20;
const FILE_READ: u64 = 64 * 1024;

/// Whether a detached response takes more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteProgress {
    /// It takes more now.
    Ready,
    /// The client is slow: it takes more when its task has been resumed.
    Full,
    /// It needs no more: its Content-Length is reached, or it has no body.
    Complete,
}

impl Connection {
    // The beginning, called while the connection is advanced

    /// Makes the task that the application has begun responsible for the response.
    pub(super) fn detach(
        &mut self,
        service: &Service,
        exchange: Exchange,
        store: Option<BodyStore>,
        filters: Vec<Box<dyn ResponseFilter>>,
    ) {
        let Some(buffer) = &mut self.read_buffer else { return };
        let Exchange { head_length, consumed, .. } = exchange;
        let head = buffer.split_head(head_length);
        let input = if exchange.body.is_done() {
            // A collected body that is not in a store is behind the head.
            let bytes = buffer.unread()[..consumed - head_length].to_vec();
            buffer.next_request(bytes.len());
            DetachedInput::Collected { store, bytes, position: 0 }
        } else {
            DetachedInput::Streamed
        };
        let mut detached = Box::new(Detached {
            exchange: Exchange { consumed: head_length, ..exchange },
            head,
            input,
            filters,
            file: None,
            waits_for_input: false,
            waits_for_room: false,
            waiting_since: 0,
            lost: None,
            hijacked: None,
        });
        // The responses to earlier requests do not wait for this one.
        if self.write_buffer.unsent() > 0 {
            self.flush_for_task(service, &mut detached);
        }
        self.continue_detached(detached);
    }

    /// Sends what is left to send, and resumes the task if what it waits for has happened.
    pub(super) fn continue_task(&mut self, service: &Service, readable: bool, now: u64) -> Step {
        let Some(mut detached) = self.take_detached() else { return Step::Close };
        if detached.file.is_some() {
            self.send_file_for_task(service, &mut detached);
        } else if self.write_buffer.unsent() > 0 {
            self.flush_for_task(service, &mut detached);
        }
        let is_lost = detached.lost.is_some();
        let has_input = readable && detached.waits_for_input && self.receive_for_task(service, &mut detached);
        if detached.waits_for_input && (has_input || is_lost) {
            detached.end_input_wait(now);
            self.wakes_task = true;
        }
        if detached.waits_for_room && (is_lost || self.has_room(service, &detached)) {
            detached.waits_for_room = false;
            self.wakes_task = true;
        }
        self.continue_detached(detached);
        Step::Detached
    }

    /// Fails the read or the write that the task waits for, because the client is too slow.
    pub(super) fn time_out_task(&mut self) -> Step {
        let Some(mut detached) = self.take_detached() else { return Step::Close };
        if self.writing.is_some() {
            self.set_close_reason(CloseReason::WriteTimeout);
            self.lose_client(&mut detached, io::ErrorKind::TimedOut);
        } else {
            detached.fail_input(InputErrorKind::TooSlow);
        }
        (detached.waits_for_input, detached.waits_for_room) = (false, false);
        self.wakes_task = true;
        self.continue_detached(detached);
        Step::Detached
    }

    // What the event loop asks

    /// Whether the request is detached.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.state, State::Detached(_))
    }

    /// Returns what the socket has to be watched for; `None` for nothing, while the task neither waits nor has sent more
    /// than the socket takes.
    pub(crate) fn task_interest(&self) -> Option<PollInterest> {
        let State::Detached(detached) = &self.state else { return None };
        let writes = detached.file.is_some() || self.unsent_of_task(detached) > 0;
        match (detached.waits_for_input, writes) {
            (true, true) => Some(PollInterest::ReadWrite),
            (true, false) => Some(PollInterest::Read),
            (false, true) => Some(PollInterest::Write),
            (false, false) => None,
        }
    }

    /// Whether the task has to be resumed, since the last call of this function.
    pub(crate) fn take_wakeup(&mut self) -> bool {
        std::mem::take(&mut self.wakes_task)
    }

    // What the task calls

    /// Sets the head of the response (PEP 3333's `start_response`). `replaces`: whether the application has given an error.
    ///
    /// # Errors
    /// Those of [`StartResponse::begin`](crate::StartResponse::begin).
    pub(crate) fn begin_for_task(
        &mut self,
        status: &str,
        fields: &[(&str, &[u8])],
        replaces: bool,
    ) -> Result<(), StartError> {
        let State::Detached(detached) = &mut self.state else { return Err(lost(io::ErrorKind::NotConnected)) };
        let Detached { filters, exchange, .. } = &mut **detached;
        check_can_set_head(&exchange.progress, replaces)?;
        let mut changed: Option<Vec<(String, Vec<u8>)>> = None;
        for filter in filters {
            let before = changed.take();
            let borrowed = before.as_deref().map(as_fields);
            changed = filter.head(borrowed.as_deref().unwrap_or(fields)).or(before);
        }
        let changed = changed.as_deref().map(as_fields);
        let fields = changed.as_deref().unwrap_or(fields);
        set_head(&mut exchange.progress, &mut self.write_buffer, status, fields, replaces)
    }

    /// Sends a block at once, as far as the socket takes it.
    ///
    /// # Errors
    /// [`StartErrorKind::NotStarted`] before the head was set; [`StartErrorKind::Io`] if the client has gone.
    pub(crate) fn write_for_task(&mut self, service: &Service, block: &[u8]) -> Result<WriteProgress, StartError> {
        let Some(mut detached) = self.take_detached() else { return Err(lost(io::ErrorKind::NotConnected)) };
        let written = self.write_block(service, &mut detached, block);
        self.continue_detached(detached);
        written
    }

    fn write_block(
        &mut self,
        service: &Service,
        detached: &mut Detached,
        block: &[u8],
    ) -> Result<WriteProgress, StartError> {
        if let Some(kind) = detached.lost {
            return Err(lost(kind));
        }
        // The head is sent with the first block that is not empty, and may be set as late as that (PEP 3333).
        if block.is_empty() {
            return Ok(WriteProgress::Ready);
        }
        if let ResponseProgress::NotStarted = detached.exchange.progress {
            return Err(StartErrorKind::NotStarted.into());
        }
        detached.filters.iter_mut().for_each(|filter| filter.block(block));
        // The application may go on reading the request body, so it is not known yet whether the rest can be drained.
        self.finish_task_head(service, &mut detached.exchange, None, false);
        let ResponseProgress::Streaming { writer, .. } = &mut detached.exchange.progress else {
            return Err(StartErrorKind::NotStarted.into());
        };
        writer.append(block, &mut self.write_buffer.bytes);
        let is_complete =
            writer.framing() == ResponseFraming::Empty || writer.is_complete() && detached.filters.is_empty();
        self.flush_for_task(service, detached);
        match detached.lost {
            Some(kind) => Err(lost(kind)),
            None if !self.has_room(service, detached) => {
                detached.waits_for_room = true;
                Ok(WriteProgress::Full)
            }
            None if is_complete => Ok(WriteProgress::Complete),
            None => Ok(WriteProgress::Ready),
        }
    }

    /// Sends a regular file from its current position to its end, without copying it where that is possible. The task is
    /// resumed when the file has been sent. `None` if the response can't consist of a file: a part of it has been sent, or a
    /// filter follows it.
    ///
    /// # Errors
    /// [`StartErrorKind::NotStarted`] before the head was set; [`StartErrorKind::Io`] if the client has gone, or the file
    /// can't be used.
    pub(crate) fn file_for_task(&mut self, service: &Service, file: File) -> Result<Option<WriteProgress>, StartError> {
        let (source, _) = open_source(Body::file(file)).map_err(StartErrorKind::Io)?;
        let BodySource::File { file, offset, left: length, .. } = source else { return Ok(None) };
        let Some(mut detached) = self.take_detached() else { return Err(lost(io::ErrorKind::NotConnected)) };
        let sent = match (&detached.exchange.progress, detached.lost) {
            (_, Some(kind)) => Err(lost(kind)),
            (ResponseProgress::NotStarted, _) => Err(StartErrorKind::NotStarted.into()),
            (ResponseProgress::HeadSet { .. }, _) if detached.filters.is_empty() => {
                self.finish_task_head(service, &mut detached.exchange, Some(length), true);
                detached.file = Some(PendingFile { file, offset, left: length });
                self.send_file_for_task(service, &mut detached);
                match (detached.lost, &detached.file) {
                    (Some(kind), _) => Err(lost(kind)),
                    (None, Some(_)) => {
                        detached.waits_for_room = true;
                        Ok(Some(WriteProgress::Full))
                    }
                    (None, None) => Ok(Some(WriteProgress::Complete)),
                }
            }
            _ => Ok(None),
        };
        self.continue_detached(detached);
        sent
    }

    /// Whether the response takes more now, and a file has been sent. If not, the task is resumed when it does.
    ///
    /// # Errors
    /// [`StartErrorKind::Io`] if the client has gone.
    pub(crate) fn ask_for_task(&mut self, service: &Service) -> Result<bool, StartError> {
        let Some(mut detached) = self.take_detached() else { return Err(lost(io::ErrorKind::NotConnected)) };
        let has_room = self.has_room(service, &detached);
        detached.waits_for_room |= !has_room;
        let result = detached.lost.map_or(Ok(has_room), |kind| Err(lost(kind)));
        self.continue_detached(detached);
        result
    }

    /// Reads bytes of the request body that have arrived. Returns their number, 0 at the end of the body, and `None` if the
    /// task has to wait.
    ///
    /// # Errors
    /// Why the body can't be read to its end.
    pub(crate) fn read_for_task(&mut self, service: &Service, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(mut detached) = self.take_detached() else { return Err(io::ErrorKind::NotConnected.into()) };
        let read = match &mut detached.input {
            _ if buffer.is_empty() => Ok(Some(0)),
            DetachedInput::Collected { store, bytes, position } => {
                let source = match store {
                    Some(store) => CollectedBody::of_store(store),
                    None => CollectedBody::of_bytes(bytes),
                };
                read_collected(source, position, buffer).map(Some)
            }
            DetachedInput::Streamed => self.read_streamed(service, &mut detached, buffer),
        };
        self.continue_detached(detached);
        read
    }

    /// Sends `103 Early Hints` (RFC 8297), unless the response has begun.
    ///
    /// # Errors
    /// Those of [`StartResponse::early_hints`](crate::StartResponse::early_hints).
    pub(crate) fn hint_for_task(&mut self, service: &Service, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        let mut hints = Vec::new();
        ResponseHead::early_hints(&mut hints, fields.iter().copied()).map_err(StartErrorKind::Response)?;
        let Some(mut detached) = self.take_detached() else { return Err(lost(io::ErrorKind::NotConnected)) };
        let sent = match (&detached.exchange.progress, detached.lost) {
            (_, Some(kind)) => Err(lost(kind)),
            (ResponseProgress::Streaming { .. }, _) => Err(StartErrorKind::HeadSent.into()),
            _ => {
                if detached.exchange.context.version == Version::Http11 {
                    self.send_interim_for_task(service, &mut detached, &hints);
                }
                Ok(())
            }
        };
        self.continue_detached(detached);
        sent
    }

    /// Notes that the application writes the response to the socket itself, and sends the responses to earlier requests
    /// first. Returns false if the task has to wait for that.
    ///
    /// # Errors
    /// [`StartErrorKind::Io`] if the client has gone.
    pub(crate) fn hijack_for_task(&mut self, service: &Service, status: u16) -> Result<bool, StartError> {
        let Some(mut detached) = self.take_detached() else { return Err(lost(io::ErrorKind::NotConnected)) };
        detached.hijacked.get_or_insert(status);
        self.flush_for_task(service, &mut detached);
        let left = self.unsent_of_task(&detached);
        detached.waits_for_room |= left > 0;
        let result = detached.lost.map_or(Ok(left == 0), |kind| Err(lost(kind)));
        self.continue_detached(detached);
        result
    }

    /// Ends the response. `last` is the last block; if it is the only one, the head declares its length.
    pub(crate) fn finish_for_task(&mut self, service: &Service, last: &[u8]) -> Step {
        let Some(detached) = self.take_detached() else { return Step::Close };
        let (mut exchange, mut filters, hijacked, is_lost) = self.end_task(*detached);
        if let Some(status) = hijacked {
            let body = Ok(Ok(Body::empty()));
            self.end_hijacked(service, &mut SingleThread, &exchange, body, Hijacked { status });
            return Step::Flush;
        }
        if is_lost {
            return self.abandon_task(service, &exchange);
        }
        filters.iter_mut().for_each(|filter| filter.block(last));
        let tail: Vec<u8> = filters.iter_mut().flat_map(|filter| filter.end()).collect();
        let is_set = matches!(exchange.progress, ResponseProgress::HeadSet { .. });
        if is_set && last.len() + tail.len() > COPIED {
            // The loop sends it piece by piece, and the log learns how much the client has received.
            let mut body = Body::from([last, &tail].concat());
            let rest = self.begin_response(service, &mut SingleThread, &mut exchange, &mut body, &mut None);
            let Some(source) = rest else { return Step::Flush };
            self.continue_response(Box::new(Response { exchange, source, streaming: false }));
            return Step::Yield;
        }
        self.finish_task_head(service, &mut exchange, Some((last.len() + tail.len()) as u64), true);
        let ResponseProgress::Streaming { head, plan, mut writer } = exchange.progress else {
            self.abort(service, &mut exchange, "the application returned without calling start_response".into());
            return Step::Flush;
        };
        for block in [last, &tail] {
            if !block.is_empty() {
                writer.append(block, &mut self.write_buffer.bytes);
            }
        }
        self.end_buffered_response(service, &mut exchange, head.status(), plan, writer);
        Step::Flush
    }

    /// Ends the response because the application has failed: with `replacement` or a 500 if the head has not been sent, else
    /// by cutting the connection.
    pub(crate) fn fail_for_task(
        &mut self,
        service: &Service,
        error: AppError,
        replacement: Option<FailureResponse>,
    ) -> Step {
        let Some(detached) = self.take_detached() else { return Step::Close };
        let (mut exchange, _, hijacked, is_lost) = self.end_task(*detached);
        if let Some(status) = hijacked {
            self.end_hijacked(service, &mut SingleThread, &exchange, Ok(Err(error)), Hijacked { status });
            return Step::Flush;
        }
        if is_lost {
            self.report(service, &exchange, &error);
            return self.abandon_task(service, &exchange);
        }
        let is_sent = matches!(exchange.progress, ResponseProgress::Streaming { .. });
        let Some(FailureResponse { status, fields, body }) = replacement.filter(|_| !is_sent) else {
            self.abort(service, &mut exchange, error);
            return Step::Flush;
        };
        self.discard_head(&exchange);
        exchange.progress = ResponseProgress::NotStarted;
        if set_head(&mut exchange.progress, &mut self.write_buffer, &status, &as_fields(&fields), false).is_err() {
            self.abort(service, &mut exchange, error);
            return Step::Flush;
        }
        self.report(service, &exchange, &error);
        self.finish_task_head(service, &mut exchange, Some(body.len() as u64), true);
        if let ResponseProgress::Streaming { head, plan, mut writer } = exchange.progress {
            writer.append(&body, &mut self.write_buffer.bytes);
            self.end_buffered_response(service, &mut exchange, head.status(), plan, writer);
        }
        Step::Flush
    }

    /// Takes the filters of a response whose application has failed, to ask them for another response.
    pub(crate) fn take_task_filters(&mut self) -> Vec<Box<dyn ResponseFilter>> {
        match &mut self.state {
            State::Detached(detached) => std::mem::take(&mut detached.filters),
            _ => Vec::new(),
        }
    }

    // What these methods share

    /// Takes a detached request apart, and puts its head back in front of what has arrived since.
    fn end_task(&mut self, detached: Detached) -> (Exchange, Vec<Box<dyn ResponseFilter>>, Option<u16>, bool) {
        let Detached { exchange, head, filters, lost, hijacked, .. } = detached;
        match &mut self.read_buffer {
            Some(buffer) => buffer.restore_head(head),
            none => *none = Some(Box::new(head)),
        }
        (exchange, filters, hijacked, lost.is_some())
    }

    /// Ends a request whose client has gone.
    fn abandon_task(&mut self, service: &Service, exchange: &Exchange) -> Step {
        match exchange.progress {
            ResponseProgress::Streaming { head, writer, .. } => {
                self.log(service, exchange, head.status(), writer.written());
            }
            ResponseProgress::HeadSet { head, .. } => self.log(service, exchange, head.status(), 0),
            ResponseProgress::NotStarted => {}
        }
        self.peer_gone()
    }

    /// Completes a head that has been set, as [`finish_head`](Connection::finish_head) does. `has_read`: whether the
    /// application reads no more of the request body.
    fn finish_task_head(&mut self, service: &Service, exchange: &mut Exchange, length: Option<u64>, has_read: bool) {
        if let ResponseProgress::HeadSet { .. } = exchange.progress {
            if has_read {
                self.limit_keep_alive(service, exchange);
            }
            self.finish_head(service, exchange, length);
        }
    }

    /// Returns the number of bytes in the write buffer that can be sent: a head without framing can't.
    fn unsent_of_task(&self, detached: &Detached) -> usize {
        let end = detached.exchange.progress.head_start().unwrap_or(self.write_buffer.bytes.len());
        end.saturating_sub(self.write_buffer.sent)
    }

    /// Whether the task can send more: no file is being sent, and little is left in the write buffer.
    fn has_room(&self, service: &Service, detached: &Detached) -> bool {
        detached.file.is_none() && self.unsent_of_task(detached) <= service.settings.limits.unsent
    }

    /// Sends the write buffer as far as the socket takes it.
    fn flush_for_task(&mut self, service: &Service, detached: &mut Detached) {
        let end = detached.exchange.progress.head_start().unwrap_or(self.write_buffer.bytes.len());
        let before = self.write_buffer.sent;
        if before >= end {
            return;
        }
        match self.write_buffer.flush_to(end, &mut *self.transport) {
            Ok(true) => {
                self.writing = None;
                self.log_written(service);
            }
            Ok(false) => {
                let count = self.write_buffer.sent - before;
                self.note_written(service, count);
            }
            Err(error) => self.lose_client(detached, error.kind()),
        }
    }

    /// Notes that the client can't be reached, so that the task gets an error when it reads or writes next.
    fn lose_client(&mut self, detached: &mut Detached, kind: io::ErrorKind) {
        detached.lost.get_or_insert(kind);
        detached.file = None;
        self.writing = None;
        // A head that is not complete stays, so that its position remains valid.
        if detached.exchange.progress.head_start().is_none() {
            self.write_buffer = WriteBuffer::default();
        }
    }

    /// Sends more of the file.
    fn send_file_for_task(&mut self, service: &Service, detached: &mut Detached) {
        let mut in_a_row = 0;
        while let Some(pending) = &mut detached.file {
            if self.write_buffer.unsent() > 0 {
                self.flush_for_task(service, detached);
                if self.write_buffer.unsent() > 0 || detached.lost.is_some() {
                    return;
                }
                continue;
            }
            let ResponseProgress::Streaming { writer, .. } = &mut detached.exchange.progress else { return };
            let wanted = writer.allowed(pending.left).min(FILE_SEND);
            if wanted == 0 {
                detached.file = None;
                return;
            }
            if in_a_row >= FILE_IN_A_ROW {
                return;
            }
            let count = match self.transport.send_file(&pending.file, pending.offset, wanted as usize) {
                Ok(Some(count)) => {
                    writer.advance(count as u64);
                    count as u64
                }
                Ok(None) => {
                    let mut piece = vec![0; wanted.min(FILE_READ) as usize];
                    let count = sys::read_at(&pending.file, &mut piece, pending.offset).unwrap_or(0);
                    writer.append(&piece[..count], &mut self.write_buffer.bytes);
                    count as u64
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.note_written(service, 0),
                Err(error) => return self.lose_client(detached, error.kind()),
            };
            if count == 0 {
                // The file has been truncated, or can't be read. The end of the response cuts the connection.
                detached.file = None;
                return;
            }
            pending.offset += count;
            pending.left -= count;
            in_a_row += count;
            self.continue_writing(service, count as usize);
        }
    }

    /// Sends an interim response: after earlier responses, and before a head that has been set but not sent.
    fn send_interim_for_task(&mut self, service: &Service, detached: &mut Detached, response: &[u8]) {
        let bytes = &mut self.write_buffer.bytes;
        match &mut detached.exchange.progress {
            ResponseProgress::HeadSet { head_start, .. } => {
                let head = bytes.split_off(*head_start);
                bytes.extend_from_slice(response);
                *head_start = bytes.len();
                bytes.extend_from_slice(&head);
            }
            _ => bytes.extend_from_slice(response),
        }
        self.flush_for_task(service, detached);
    }

    fn read_streamed(
        &mut self,
        service: &Service,
        detached: &mut Detached,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        loop {
            let body = &mut detached.exchange.body;
            if let Some(error) = body.failed {
                return Err(error.into());
            }
            if body.is_done() {
                return Ok(Some(0));
            }
            let arrived = self.read_buffer.as_deref_mut().filter(|buffer| !buffer.is_empty());
            if let Some(arrived) = arrived {
                let piece = &arrived.unread()[..buffer.len().min(arrived.len())];
                match body.take(piece) {
                    Ok((used, data)) => {
                        let count = data.len();
                        buffer[..count].copy_from_slice(&piece[data]);
                        arrived.start += used;
                        if count > 0 {
                            return Ok(Some(count));
                        }
                        continue;
                    }
                    Err(error) => {
                        body.failed = Some(error);
                        return Err(error.into());
                    }
                }
            }
            let sends_continue =
                body.continue_pending && !matches!(detached.exchange.progress, ResponseProgress::Streaming { .. });
            if sends_continue {
                detached.exchange.body.continue_pending = false;
                self.send_interim_for_task(service, detached, b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            if !self.receive_for_task(service, detached) {
                if !detached.waits_for_input {
                    detached.waits_for_input = true;
                    detached.waiting_since = service.now();
                }
                return Ok(None);
            }
        }
    }

    /// Reads what has arrived of the body. Returns false if nothing has, and nothing has failed.
    fn receive_for_task(&mut self, service: &Service, detached: &mut Detached) -> bool {
        let buffer = self.read_buffer.get_or_insert_with(|| ReadBuffer::with_settings(&service.settings));
        let room = buffer.free(1);
        match self.transport.read(room) {
            Ok(0) => detached.fail_input(InputErrorKind::Truncated),
            Ok(count) => {
                buffer.end += count;
                detached.exchange.body.continue_pending = false;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return false;
            }
            Err(_) => detached.fail_input(InputErrorKind::Truncated),
        }
        true
    }
}

/// Reads from a complete body at `position`, which moves on.
fn read_collected(mut source: CollectedBody<'_>, position: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    source.consume(usize::try_from(*position).unwrap_or(usize::MAX));
    let count = match source.read_directly(buffer)? {
        Some(count) => count,
        None => {
            let available = source.fill()?;
            let count = available.len().min(buffer.len());
            buffer[..count].copy_from_slice(&available[..count]);
            count
        }
    };
    *position += count as u64;
    Ok(count)
}

fn as_fields(owned: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    owned.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

fn lost(kind: io::ErrorKind) -> StartError {
    StartErrorKind::Io(kind.into()).into()
}
