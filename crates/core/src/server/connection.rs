//! One connection, from its first byte to its last: a state machine that never blocks outside the application.
//!
//! ```text
//!            ┌───────────────────────────────────────────────┐
//!            ▼                                               │
//!   ──►   Head ──► application ──► Respond ──► Drain ────────┤ keep-alive
//!            │          │             │          │           │
//!            ▼          ▼             ▼          ▼           │
//!         Closing ◄─────┴─────────────┴──────────┘           │
//!            │                                               │
//!            ▼                                               │
//!         Linger ──► Closed        Upgrade ──► (not ours any more)
//! ```
//!
//! [`Connection::advance`] goes on for as long as there is something to do and then says, with a [`Step`], what it
//! waits for. It runs the application through a [`Turn`], by which the thread that leads the loop lets go of it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Seek};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::address::Endpoint;
use super::buffer::Buffer;
use super::incoming::{BodyState, Incoming};
use super::log::{AccessRecord, CloseReason};
use super::panics::{self, Panic};
use super::service::{Failure, Service};
use super::settings::millis;
use super::transport::Transport;
use super::upgrade::OnUpgrade;
use super::wire::{Out, Started, Starter, Wire};
use crate::http::{
    reason_phrase, Answering, BodyWriter, Error, ErrorKind, Framing, ResponseFraming, ResponseHead, ResponsePlan,
    Target, TargetForm, Version,
};
use crate::wsgi::{AppError, Blocks, Body, ConnectionInfo, Environ, InputError, Kind, Peer};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Answers stand in the buffer: call [`Connection::settle`] when the batch is done.
    Flush,
    /// There is more to do; others first.
    Again,
    /// A complete head waits until an application may run.
    Turn,
    /// A complete head waits for a process of its own.
    Fork,
    /// The answer 101 is out: the connection leaves the server ([`Connection::into_upgrade`]).
    Upgrade,
    /// Nothing: it is over.
    Close,
}

/// May an application run now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Run,
    Wait,
    Fork,
}

/// The position of the thread that advances a connection.
pub(crate) trait Turn {
    /// Asked for each request before its application runs.
    fn permission(&mut self) -> Permission {
        Permission::Run
    }
    /// The application is about to run, for nobody knows how long.
    fn leave(&mut self) {}
    /// It came back.
    fn back(&mut self) {}
    /// Do other connections wait for this thread?
    fn leads(&self) -> bool;
}

/// The one thread of a loop: it waits for the application, and everybody waits for it.
#[doc(hidden)]
pub(crate) struct Alone;

impl Turn for Alone {
    fn leads(&self) -> bool {
        true
    }
}

/// Pipelined requests or blocks of one connection that are served in a row while others wait.
const IN_A_ROW: usize = 32;
/// Answers up to this size are copied behind their head, so that one write sends both and the next request can begin.
const COPIED: usize = 16 * 1024;
/// What is read from a file at once where it can't be sent directly, and the most that is asked of one `sendfile`.
const FILE_READ: usize = 64 * 1024;
const FILE_SEND: usize = 1 << 20;

enum State {
    Head,
    Respond(Box<Respond>),
    Drain(BodyState),
    Closing { linger: bool },
    Linger,
    Upgrade(OnUpgrade),
    Closed,
}

/// An answer that did not fit into the buffer or is not complete yet.
struct Respond {
    exchange: Exchange,
    head: ResponseHead,
    /// Where the head stands in the buffer while it waits for its first block.
    mark: usize,
    /// `None` until the first non-empty block.
    sending: Option<(ResponsePlan, BodyWriter)>,
    source: Source,
}

enum Source {
    Bytes { data: Cow<'static, [u8]>, sent: usize },
    Blocks(Blocks),
    File { file: File, offset: u64, left: u64 },
}

/// A request while it is being answered.
struct Exchange {
    /// The head's length in the buffer, which still holds it.
    head_length: usize,
    /// Bytes of the buffer that belong to this request, as far as its body was read.
    consumed: usize,
    answering: Answering,
    /// The client itself said that this is its last request.
    client_closes: bool,
    upgrade_offered: bool,
    body: BodyState,
    began: Option<Instant>,
}

/// Progress of bytes to or from a slow peer, in milliseconds and bytes.
#[derive(Clone, Copy, Default)]
struct Transfer {
    started: u64,
    progress: u64,
    moved: u64,
}

pub(crate) struct Connection {
    transport: Box<dyn Transport>,
    endpoint: Arc<Endpoint>,
    peer: Peer,
    scheme: &'static str,
    /// There while bytes are; an idle connection has none.
    buffer: Option<Box<Buffer>>,
    out: Out,
    state: State,
    /// When the state's deadline began to run.
    since: u64,
    /// The answer being written, once it has met a full socket.
    writing: Option<Transfer>,
    reading: Transfer,
    reason: Option<CloseReason>,
    /// Requests answered so far.
    pub(super) answered: u64,
}

impl Connection {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        endpoint: Arc<Endpoint>,
        peer: Peer,
        scheme: &'static str,
        now: u64,
    ) -> Connection {
        Connection {
            transport,
            endpoint,
            peer,
            scheme,
            buffer: None,
            out: Out::default(),
            state: State::Head,
            since: now,
            writing: None,
            reading: Transfer::default(),
            reason: None,
            answered: 0,
        }
    }

    /// Lends a buffer, if there is none.
    #[inline]
    pub(crate) fn lend(&mut self, buffer: impl FnOnce() -> Box<Buffer>) {
        if self.buffer.is_none() {
            self.buffer = Some(buffer());
        }
    }

    /// The buffer, when nothing stands in it.
    #[inline]
    pub(crate) fn give_back(&mut self) -> Option<Box<Buffer>> {
        self.buffer.take_if(|buffer| buffer.is_empty())
    }

    /// Waits for a request and has nothing half-done.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Head)
            && self.out.unsent() == 0
            && self.buffer.as_ref().is_none_or(|buffer| buffer.is_empty())
    }

    /// Has an answer half-sent.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state, State::Respond(_))
    }

    /// Takes the connection out of the server, with the bytes that were read ahead.
    pub(crate) fn into_upgrade(mut self) -> Option<(OnUpgrade, Box<dyn Transport>, Vec<u8>)> {
        let State::Upgrade(on_upgrade) = std::mem::replace(&mut self.state, State::Closed) else { return None };
        let ahead = self.buffer.take().map_or_else(Vec::new, |buffer| buffer.bytes[buffer.start..buffer.end].to_vec());
        Some((on_upgrade, self.transport, ahead))
    }

    /// Another process answers the request that stands in the buffer.
    pub(super) fn forget_request(&mut self) {
        self.buffer = None;
        self.out = Out::default();
    }

    /// It waits for a request from now on.
    pub(super) fn begin_idle(&mut self, now: u64) {
        self.since = now;
    }

    /// 503: nobody can answer this request now.
    pub(super) fn refuse_unavailable(&mut self, service: &Service) {
        self.answer_error(service, 503, "the server can't take more requests now; try again later");
    }

    pub(super) fn reason(&self) -> Option<CloseReason> {
        self.reason
    }

    pub(super) fn set_reason(&mut self, reason: CloseReason) {
        self.reason.get_or_insert(reason);
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// When this connection has to have moved on, in the service's milliseconds.
    pub(super) fn deadline(&self, service: &Service) -> u64 {
        let timeouts = &service.settings.timeouts;
        if let Some(writing) = &self.writing {
            return timeouts.transfer_deadline(writing.started, writing.progress, writing.moved);
        }
        match &self.state {
            State::Head if self.buffer.as_ref().is_none_or(|buffer| buffer.is_empty()) => {
                self.since + millis(timeouts.idle)
            }
            State::Head => self.since + millis(timeouts.head),
            State::Drain(_) => {
                timeouts.transfer_deadline(self.reading.started, self.reading.progress, self.reading.moved)
            }
            State::Linger => self.since + millis(timeouts.linger),
            _ => u64::MAX,
        }
    }

    /// The deadline has passed.
    pub(crate) fn time_out(&mut self, service: &Service, now: u64) -> Step {
        if self.writing.is_some() {
            self.set_reason(CloseReason::WriteTimeout);
            return self.end();
        }
        match &self.state {
            State::Head if self.is_idle() => self.set_reason(CloseReason::Idle),
            State::Head => {
                self.set_reason(CloseReason::HeadTimeout);
                let sentence = "the head of the request did not arrive in time";
                self.answer_error(service, 408, sentence);
                return self.settle(service, now);
            }
            State::Drain(_) => self.set_reason(CloseReason::BodyTimeout),
            _ => {}
        }
        self.end()
    }

    fn end(&mut self) -> Step {
        self.state = State::Closed;
        Step::Close
    }

    fn lost(&mut self, _: io::Error) -> Step {
        self.set_reason(CloseReason::ClientLeft);
        self.end()
    }

    /// Goes on as far as possible. `readable` says whether trying to read makes sense.
    #[inline]
    pub(crate) fn advance(&mut self, service: &Service, turn: &mut dyn Turn, mut readable: bool, now: u64) -> Step {
        let mut in_a_row = 0;
        loop {
            match &mut self.state {
                State::Head => {
                    if self.out.unsent() > service.settings.limits.unsent {
                        return self.settle(service, now);
                    }
                    let Some(buffer) = &mut self.buffer else { return Step::Read };
                    if !buffer.is_empty() {
                        match buffer.parser.parse(&buffer.bytes[buffer.start..], buffer.len()) {
                            Ok(Some(length)) => {
                                in_a_row += 1;
                                if in_a_row > IN_A_ROW && turn.leads() {
                                    return Step::Again;
                                }
                                if let Some(step) = self.serve(service, turn, length) {
                                    return step;
                                }
                                continue;
                            }
                            Ok(None) => {}
                            Err(error) => {
                                self.refuse(service, error);
                                continue;
                            }
                        }
                    }
                    if !readable {
                        return if self.out.unsent() > 0 { Step::Flush } else { Step::Read };
                    }
                    let was_empty = buffer.is_empty();
                    let room = buffer.free(1);
                    let free = room.len();
                    match self.transport.read(room) {
                        Ok(0) => {
                            self.state = State::Closing { linger: false };
                            return Step::Flush;
                        }
                        Ok(count) => {
                            readable = count == free;
                            buffer.end += count;
                            if was_empty {
                                self.since = now;
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable = false,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return self.lost(error),
                    }
                }
                State::Respond(_) => {
                    if let Some(step) = self.respond(service, turn) {
                        return step;
                    }
                }
                State::Drain(_) => match self.drain(service, &mut readable, now) {
                    Some(step) => return step,
                    None => continue,
                },
                State::Linger => {
                    if now >= self.since + millis(service.settings.timeouts.linger) {
                        return self.end();
                    }
                    let mut scrap = [0; 4096];
                    match self.transport.read(&mut scrap) {
                        Ok(0) => return self.end(),
                        Ok(_) if turn.leads() => return Step::Again,
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return self.end(),
                    }
                }
                State::Upgrade(_) if self.out.unsent() == 0 => return Step::Upgrade,
                State::Closing { .. } | State::Upgrade(_) => return Step::Flush,
                State::Closed => return Step::Close,
            }
        }
    }

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
        match self.out.flush(&mut *self.transport) {
            Ok(true) => self.writing = None,
            Ok(false) => {
                self.note_written(service, before - self.out.unsent());
                return Step::Write;
            }
            Err(error) => return self.lost(error),
        }
        match &self.state {
            State::Head => {
                if self.buffer.as_ref().is_some_and(|buffer| !buffer.is_empty()) {
                    return Step::Again;
                }
                // Idle from now on.
                self.since = now;
                Step::Read
            }
            State::Respond(_) | State::Upgrade(_) => Step::Again,
            State::Drain(_) | State::Linger => Step::Read,
            State::Closing { linger: true } => {
                if self.transport.shutdown_write().is_err() {
                    return self.end();
                }
                self.since = now;
                self.buffer = None;
                self.state = State::Linger;
                Step::Read
            }
            State::Closing { linger: false } => self.end(),
            State::Closed => Step::Close,
        }
    }

    fn note_written(&mut self, service: &Service, count: usize) {
        let now = service.now();
        let writing = self.writing.get_or_insert(Transfer { started: now, progress: now, moved: 0 });
        if count > 0 {
            writing.progress = now;
            writing.moved += count as u64;
        }
    }

    /// Answers the request whose head has just become complete. `None` when the state says how to go on.
    fn serve(&mut self, service: &Service, turn: &mut dyn Turn, length: usize) -> Option<Step> {
        let buffer = self.buffer.as_mut()?;
        let leniency = service.settings.leniency;
        let judged = {
            let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.end]);
            Framing::of(&head, leniency).and_then(|framing| {
                let target = Target::of(&head, leniency)?;
                let declared = match framing.body {
                    crate::http::BodyLength::Known(length) => length,
                    crate::http::BodyLength::Chunked => 0,
                };
                if service.settings.limits.body.is_some_and(|limit| declared > limit) {
                    return Err(Error::new(ErrorKind::BodyTooLarge, length));
                }
                if target.form == TargetForm::Authority {
                    return Err(Error::new(ErrorKind::Connect, 0));
                }
                Ok(framing)
            })
        };
        let framing = match judged {
            Ok(framing) => framing,
            Err(error) => {
                self.refuse(service, error);
                return None;
            }
        };
        match turn.permission() {
            Permission::Run => {}
            Permission::Wait => return Some(Step::Turn),
            Permission::Fork => return Some(Step::Fork),
        }

        let mut body = BodyState::new(&framing, &service.settings);
        if !body.is_done() {
            // A body is read in pieces no smaller than this.
            const READ: usize = 8 * 1024;
            buffer.free(READ);
        }
        let filled = buffer.len() - length;
        let end = buffer.bytes.len();
        let (head_bytes, rest) = buffer.bytes[buffer.start..end - 64].split_at_mut(length);
        let head = buffer.parser.head(head_bytes);
        let target = match Target::of(&head, leniency) {
            Ok(target) => target,
            Err(_) => unreachable!("it was judged above"),
        };
        let answering = Answering {
            version: head.version(),
            head: head.method() == b"HEAD",
            keep_alive: framing.keep_alive && !service.is_last_request(),
        };
        let began = service.stopwatch();

        let connection = ConnectionInfo {
            server_name: &self.endpoint.name,
            server_port: &self.endpoint.port,
            peer: self.peer,
            scheme: self.scheme,
        };
        let wire = RefCell::new(Wire {
            transport: &mut *self.transport,
            out: &mut self.out,
            service,
            mark: None,
            begun: false,
        });
        let mut incoming = Incoming { wire: &wire, state: &mut body, bytes: rest, unread: 0..filled, ready: 0..0 };
        let mut environ = Environ::new(head, target, &service.info, connection, &mut incoming);
        let mut starter = Starter { wire: &wire, answering, started: Started::No };

        turn.leave();
        let result = panics::catch(|| {
            service.settings.handler.make_environ(&mut environ);
            service.app.call(&mut environ, &mut starter)
        });
        turn.back();

        let on_upgrade = environ.extensions_mut().remove::<OnUpgrade>();
        let started = starter.started;
        // The extensions are the application's.
        let dropped = panics::catch(|| drop(environ));
        // What was decoded but not consumed is as good as read.
        let Range { start: consumed, end: there } = incoming.unread;
        let mark = wire.into_inner().mark;
        buffer.end = buffer.start + length + there;
        let exchange = Exchange {
            head_length: length,
            consumed: length + consumed,
            answering,
            client_closes: !framing.keep_alive,
            upgrade_offered: framing.upgrade,
            body,
            began,
        };
        if let Err(panic) = dropped {
            self.report_panic(service, &exchange, "the environ's extensions", panic);
        }

        match result {
            Ok(Ok(body)) => self.begin_answer(service, turn, exchange, started, mark, body, on_upgrade),
            Ok(Err(error)) => self.fail(service, exchange, started, mark, error),
            Err(panic) => {
                let report = format!("panic in the application: {}", panic.report);
                if service.pass_through(|| Failure::Panic(panic)) {
                    self.fail_silently(exchange);
                } else {
                    self.fail(service, exchange, started, mark, report.into());
                }
            }
        }
        None
    }

    /// The application has returned a body.
    #[allow(clippy::too_many_arguments)]
    fn begin_answer(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        mut exchange: Exchange,
        started: Started,
        mark: Option<usize>,
        body: Body,
        on_upgrade: Option<OnUpgrade>,
    ) {
        exchange.answering.keep_alive &= exchange.body.is_drainable(service.settings.limits.drain);
        let (head, sending) = match started {
            Started::No => {
                self.drop_body(service, turn, &exchange, body);
                let error = "the application returned without calling start_response";
                return self.fail(service, exchange, Started::No, mark, error.into());
            }
            Started::Set(head) => (head, None),
            Started::Sent { head, plan, writer } => (head, Some((plan, writer))),
        };
        if head.status() == 101 {
            self.drop_body(service, turn, &exchange, body);
            return self.switch(service, exchange, (head, sending), mark, on_upgrade);
        }
        let (source, length) = match body.0 {
            Kind::Bytes(data) => {
                let length = Some(data.len() as u64);
                (Source::Bytes { data, sent: 0 }, length)
            }
            Kind::Blocks(blocks) => (Source::Blocks(blocks), None),
            Kind::File { file, length } => match open_file(file, length) {
                Ok((source, length)) => (source, length),
                Err(error) => {
                    let started = restore(head, sending);
                    return self.fail(service, exchange, started, mark, error.into());
                }
            },
        };
        let bodiless = exchange.answering.head || !crate::http::allows_body(head.status());
        // Blocks decide about the head with the first of them; everything else is known now.
        let sending = match (sending, &source) {
            (None, Source::Blocks(_)) if !bodiless => None,
            (None, _) => {
                let plan = service.finish_head(&head, &mut self.out.bytes, exchange.answering, length);
                Some((plan, BodyWriter::new(plan.framing)))
            }
            (sending, _) => sending,
        };
        let chunked = sending.is_some_and(|(plan, _)| plan.framing == ResponseFraming::Chunked);
        match (sending, source) {
            (Some((plan, mut writer)), Source::Bytes { data, .. }) if data.len() <= COPIED || bodiless || chunked => {
                writer.append(&data, &mut self.out.bytes);
                self.complete(service, exchange, &head, plan, writer);
            }
            (sending, mut source) => {
                if let (true, Source::File { file, left, .. }) = (chunked, &source) {
                    // After `write`, what follows has to be framed as chunks.
                    match file.try_clone() {
                        Ok(file) => source = Source::Blocks(Box::new(FileBlocks { file, left: Some(*left) })),
                        Err(error) => return self.fail(service, exchange, restore(head, sending), mark, error.into()),
                    }
                }
                let mark = mark.unwrap_or(self.out.bytes.len());
                if sending.is_none() && self.out.sent < mark {
                    // Earlier answers don't wait for the first block of this one.
                    let _ = self.out.flush_to(mark, &mut *self.transport);
                }
                self.state = State::Respond(Box::new(Respond { exchange, head, mark, sending, source }));
            }
        }
    }

    /// 101: the connection leaves HTTP.
    fn switch(
        &mut self,
        service: &Service,
        exchange: Exchange,
        (head, sending): (ResponseHead, Option<(ResponsePlan, BodyWriter)>),
        mark: Option<usize>,
        on_upgrade: Option<OnUpgrade>,
    ) {
        let Some(on_upgrade) = on_upgrade else {
            let error = "101 was answered without saying with amboss_core::on_upgrade what follows";
            return self.fail(service, exchange, restore(head, sending), mark, error.into());
        };
        if !exchange.upgrade_offered {
            // RFC 9110 §7.8: the client has to ask for it.
            let error = "101 was answered to a request that does not offer to upgrade";
            return self.fail(service, exchange, restore(head, sending), mark, error.into());
        }
        if !exchange.body.is_done() {
            // RFC 9110 §7.8: the new protocol begins behind the request, and its body is not that protocol.
            let error = "101 was answered before the body of the request was read";
            return self.fail(service, exchange, restore(head, sending), mark, error.into());
        }
        // With `write` the head has left already, and is not to be ended twice.
        let plan = match sending {
            Some((plan, _)) => plan,
            None => service.finish_head(&head, &mut self.out.bytes, exchange.answering, None),
        };
        self.log(service, &exchange, 101, 0);
        let consumed = exchange.consumed;
        if let Some(buffer) = &mut self.buffer {
            buffer.next_request(consumed);
        }
        debug_assert!(!plan.keep_alive);
        self.answered += 1;
        self.state = State::Upgrade(on_upgrade);
    }

    /// Sends more of a long answer. `None` when the state has changed.
    fn respond(&mut self, service: &Service, turn: &mut dyn Turn) -> Option<Step> {
        let State::Respond(mut respond) = std::mem::replace(&mut self.state, State::Closed) else { return None };
        let mut in_a_row = 0;
        loop {
            // Every block leaves before the next one is asked for. A head that waits for its first block is not
            // flushed: it stands behind the mark, and nothing else does.
            let held = respond.sending.is_none();
            if !held && self.out.unsent() > 0 {
                if let Source::Bytes { data, sent: 0 } = &respond.source {
                    // Head and body in one system call.
                    if let Some((_, writer)) = &mut respond.sending {
                        if writer.framing() != ResponseFraming::Chunked {
                            let admitted = writer.admit(data.len() as u64) as usize;
                            let pending = &self.out.bytes[self.out.sent..];
                            match self.transport.write_two(pending, &data[..admitted]) {
                                Ok(count) => {
                                    let from_out = count.min(pending.len());
                                    self.out.sent += from_out;
                                    self.out.tidy();
                                    let from_data = count - from_out;
                                    writer.count(from_data as u64);
                                    if let Source::Bytes { sent, .. } = &mut respond.source {
                                        *sent = from_data;
                                    }
                                }
                                Err(error) if is_not_now(&error) => {}
                                Err(error) => return self.abandon(service, turn, respond, error),
                            }
                        }
                    }
                }
                let before = self.out.unsent();
                match self.out.flush(&mut *self.transport) {
                    Ok(true) => self.writing = None,
                    Ok(false) => {
                        self.note_written(service, before - self.out.unsent());
                        self.state = State::Respond(respond);
                        return Some(Step::Write);
                    }
                    Err(error) => return self.abandon(service, turn, respond, error),
                }
            }
            in_a_row += 1;
            if in_a_row > IN_A_ROW && turn.leads() {
                self.state = State::Respond(respond);
                return Some(Step::Again);
            }

            let full = respond
                .sending
                .as_ref()
                .is_some_and(|(_, writer)| writer.is_full() || writer.framing() == ResponseFraming::Empty);
            if full {
                return self.end_answer(service, turn, respond);
            }
            match &mut respond.source {
                Source::Bytes { data, sent } => {
                    let Some((_, writer)) = &mut respond.sending else { return Some(self.end()) };
                    let admitted = writer.admit((data.len() - *sent) as u64) as usize;
                    if admitted == 0 {
                        return self.end_answer(service, turn, respond);
                    }
                    match self.transport.write(&data[*sent..*sent + admitted]) {
                        Ok(count) => {
                            *sent += count;
                            writer.count(count as u64);
                            if self.writing.is_some() {
                                self.note_written(service, count);
                            }
                        }
                        Err(error) if is_not_now(&error) => return self.blocked(service, respond),
                        Err(error) => return self.abandon(service, turn, respond, error),
                    }
                }
                Source::File { file, offset, left } => {
                    let Some((_, writer)) = &mut respond.sending else { return Some(self.end()) };
                    let admitted = writer.admit(*left);
                    if admitted == 0 {
                        return self.end_answer(service, turn, respond);
                    }
                    let count = usize::try_from(admitted).unwrap_or(usize::MAX).min(FILE_SEND);
                    match self.transport.send_file(file, *offset, count) {
                        // The file has become shorter.
                        Ok(Some(0)) => return self.end_answer(service, turn, respond),
                        Ok(Some(count)) => {
                            *offset += count as u64;
                            *left -= count as u64;
                            writer.count(count as u64);
                            if self.writing.is_some() {
                                self.note_written(service, count);
                            }
                        }
                        Ok(None) => {
                            let mut piece = vec![0; count.min(FILE_READ)];
                            match std::os::unix::fs::FileExt::read_at(&*file, &mut piece, *offset) {
                                Ok(0) | Err(_) => return self.end_answer(service, turn, respond),
                                Ok(count) => {
                                    *offset += count as u64;
                                    *left -= count as u64;
                                    writer.append(&piece[..count], &mut self.out.bytes);
                                }
                            }
                        }
                        Err(error) if is_not_now(&error) => return self.blocked(service, respond),
                        Err(error) => return self.abandon(service, turn, respond, error),
                    }
                }
                Source::Blocks(blocks) => {
                    // The next block may take as long as a request.
                    if turn.leads() && turn.permission() == Permission::Wait {
                        self.state = State::Respond(respond);
                        return Some(Step::Turn);
                    }
                    turn.leave();
                    let next = panics::catch(|| {
                        let block = blocks.next();
                        // Does the iterator know that this was all?
                        let last = block.is_some() && blocks.size_hint() == (0, Some(0));
                        (block, last)
                    });
                    turn.back();
                    match next {
                        Ok((Some(Ok(block)), last)) => {
                            if block.is_empty() && !last {
                                continue;
                            }
                            let (_, writer) = respond.sending.get_or_insert_with(|| {
                                let length = last.then_some(block.len() as u64);
                                let exchange = &respond.exchange;
                                let plan =
                                    service.finish_head(&respond.head, &mut self.out.bytes, exchange.answering, length);
                                (plan, BodyWriter::new(plan.framing))
                            });
                            writer.append(&block, &mut self.out.bytes);
                        }
                        Ok((None, _)) => return self.end_answer(service, turn, respond),
                        Ok((Some(Err(error)), _)) => return self.fail_midway(service, turn, respond, error),
                        Err(panic) => {
                            let report = format!("panic in the response body: {}", panic.report);
                            if service.pass_through(|| Failure::Panic(panic)) {
                                self.drop_source(service, turn, &respond.exchange, respond.source);
                                self.fail_silently(respond.exchange);
                                return None;
                            }
                            return self.fail_midway(service, turn, respond, report.into());
                        }
                    }
                }
            }
        }
    }

    fn blocked(&mut self, service: &Service, respond: Box<Respond>) -> Option<Step> {
        self.note_written(service, 0);
        self.state = State::Respond(respond);
        Some(Step::Write)
    }

    /// The source has nothing more, or nothing more belongs on the wire.
    fn end_answer(&mut self, service: &Service, turn: &mut dyn Turn, respond: Box<Respond>) -> Option<Step> {
        let Respond { exchange, head, sending, source, .. } = *respond;
        self.drop_source(service, turn, &exchange, source);
        let (plan, writer) = sending.unwrap_or_else(|| {
            let plan = service.finish_head(&head, &mut self.out.bytes, exchange.answering, Some(0));
            (plan, BodyWriter::new(plan.framing))
        });
        self.writing = None;
        self.complete(service, exchange, &head, plan, writer);
        None
    }

    /// An iterator failed.
    fn fail_midway(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        respond: Box<Respond>,
        error: AppError,
    ) -> Option<Step> {
        let Respond { exchange, head, mark, sending, source } = *respond;
        self.drop_source(service, turn, &exchange, source);
        let mark = sending.is_none().then_some(mark);
        self.fail(service, exchange, restore(head, sending), mark, error);
        None
    }

    /// The client is gone; the application is told by dropping its body.
    fn abandon(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        respond: Box<Respond>,
        error: io::Error,
    ) -> Option<Step> {
        let Respond { exchange, head, sending, source, .. } = *respond;
        self.drop_source(service, turn, &exchange, source);
        let written = sending.map_or(0, |(_, writer)| writer.written());
        self.log(service, &exchange, head.status(), written);
        Some(self.lost(error))
    }

    /// Everything the application gave stands in the buffer.
    #[inline]
    fn complete(
        &mut self,
        service: &Service,
        exchange: Exchange,
        head: &ResponseHead,
        plan: ResponsePlan,
        writer: BodyWriter,
    ) {
        self.log(service, &exchange, head.status(), writer.written());
        self.answered += 1;
        if !writer.end(&mut self.out.bytes) {
            self.set_reason(CloseReason::CutShort);
            service.settings.log.error(&format!(
                "the application declared more bytes than it gave ({} came); the connection is cut",
                writer.written()
            ));
            self.state = State::Closing { linger: false };
            return;
        }
        self.move_on(service, exchange, plan.keep_alive);
    }

    /// What comes after an answer: the next request, the rest of this one's body, or the end.
    #[inline]
    fn move_on(&mut self, service: &Service, exchange: Exchange, keep_alive: bool) {
        let left = self.buffer.as_ref().is_some_and(|buffer| buffer.len() > exchange.consumed);
        if !keep_alive || exchange.body.failed.is_some() {
            let clean = exchange.client_closes && exchange.body.is_done() && !left;
            if exchange.body.continue_pending {
                self.set_reason(CloseReason::NotContinued);
            } else if !exchange.body.is_done() {
                self.set_reason(CloseReason::Undrained);
            }
            self.state = State::Closing { linger: !clean };
            return;
        }
        if let Some(buffer) = &mut self.buffer {
            buffer.next_request(exchange.consumed);
            if left {
                // The next head has begun; its time counts from now.
                self.since = service.now();
            }
        }
        self.state = if exchange.body.is_done() {
            State::Head
        } else {
            self.reading = Transfer::default();
            State::Drain(exchange.body)
        };
    }

    /// Reads what the application left of a body, up to a bound.
    fn drain(&mut self, service: &Service, readable: &mut bool, now: u64) -> Option<Step> {
        if self.reading.started == 0 {
            self.reading = Transfer { started: now, progress: now, moved: 0 };
        }
        let State::Drain(body) = &mut self.state else { return None };
        let Some(buffer) = &mut self.buffer else { return Some(Step::Read) };
        loop {
            while !buffer.is_empty() && !body.is_done() {
                match body.take(&buffer.bytes[buffer.start..buffer.end]) {
                    Ok((used, _)) => {
                        buffer.start += used;
                        self.reading.moved += used as u64;
                        self.reading.progress = now;
                    }
                    Err(_) => {
                        self.state = State::Closing { linger: true };
                        return None;
                    }
                }
            }
            if body.is_done() {
                buffer.next_request(0);
                self.since = now;
                self.state = State::Head;
                return None;
            }
            if self.reading.moved > service.settings.limits.drain {
                self.set_reason(CloseReason::Undrained);
                self.state = State::Closing { linger: true };
                return None;
            }
            if !*readable {
                // The answer first: the client may be waiting for it before it sends the rest.
                return Some(if self.out.unsent() > 0 { Step::Flush } else { Step::Read });
            }
            let room = buffer.free(1);
            let free = room.len();
            match self.transport.read(room) {
                Ok(0) => {
                    self.state = State::Closing { linger: false };
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

    /// The application failed: a 500 while the head has not been sent, a cut afterwards.
    fn fail(
        &mut self,
        service: &Service,
        mut exchange: Exchange,
        started: Started,
        mark: Option<usize>,
        error: AppError,
    ) {
        let status = exchange.body.failed.map_or(500, |failed: InputError| failed.status());
        self.report(service, &exchange, &error);
        if let Started::Sent { head, plan, writer } = started {
            self.log(service, &exchange, head.status(), writer.written());
            self.set_reason(CloseReason::CutShort);
            if plan.framing == ResponseFraming::Close {
                // Only a reset tells this client that something is missing.
                let _ = self.out.flush(&mut *self.transport);
                let _ = self.transport.abort();
                self.out = Out::default();
            }
            self.state = State::Closing { linger: false };
        } else {
            if let Some(mark) = mark {
                self.out.bytes.truncate(mark);
            }
            exchange.answering.keep_alive &= exchange.body.is_drainable(service.settings.limits.drain);
            let sentence = match exchange.body.failed {
                Some(failed) => failed.to_string(),
                None => "the application failed; the server's log says how".to_owned(),
            };
            let (plan, written) = self.write_error(service, status, &sentence, exchange.answering);
            self.log(service, &exchange, status, written);
            self.answered += 1;
            self.move_on(service, exchange, plan.keep_alive);
        }
        if exchange_failed_input(status) {
            return;
        }
        service.pass_through(|| Failure::Error(error));
    }

    /// The failure leaves through `serve_forever`; the client sees a cut.
    fn fail_silently(&mut self, exchange: Exchange) {
        drop(exchange);
        self.set_reason(CloseReason::CutShort);
        self.state = State::Closing { linger: false };
    }

    /// Refuses a request that can't be served, and closes: its framing is in doubt.
    fn refuse(&mut self, service: &Service, error: Error) {
        self.set_reason(CloseReason::Refused(error));
        self.answer_error(service, error.status(), error.kind().sentence());
    }

    fn answer_error(&mut self, service: &Service, status: u16, sentence: &str) {
        let answering = Answering { version: Version::Http11, head: false, keep_alive: false };
        let (_, written) = self.write_error(service, status, sentence, answering);
        let line = self.buffer.as_ref().map_or(&b""[..], |buffer| {
            let bytes = &buffer.bytes[buffer.start..buffer.end];
            // Of what may be no HTTP at all, a line's worth.
            const SHOWN: usize = 100;
            let end = bytes.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
            &bytes[..end.min(SHOWN)]
        });
        let record = AccessRecord {
            peer: self.peer,
            request_line: line,
            target: b"",
            head: None,
            status,
            bytes: written,
            duration: Default::default(),
            time: SystemTime::now(),
        };
        service.tell(|handler, log| handler.log_request(&record, log));
        self.answered += 1;
        self.state = State::Closing { linger: true };
    }

    fn write_error(
        &mut self,
        service: &Service,
        status: u16,
        sentence: &str,
        answering: Answering,
    ) -> (ResponsePlan, u64) {
        let text = format!("{status} {}: {sentence}\n", reason_phrase(status));
        let fields = [("Content-Type", &b"text/plain; charset=utf-8"[..])];
        let status = format!("{status} {}", reason_phrase(status));
        let Ok(head) = ResponseHead::start(&mut self.out.bytes, &status, fields) else {
            unreachable!("the status and the field are ours")
        };
        let plan = service.finish_head(&head, &mut self.out.bytes, answering, Some(text.len() as u64));
        let mut writer = BodyWriter::new(plan.framing);
        writer.append(text.as_bytes(), &mut self.out.bytes);
        (plan, writer.written())
    }

    /// PEP 3333's `close()`, which is the application's code and may take its time or panic.
    fn drop_body(&self, service: &Service, turn: &mut dyn Turn, exchange: &Exchange, body: Body) {
        if let Kind::Blocks(blocks) = body.0 {
            self.drop_source(service, turn, exchange, Source::Blocks(blocks));
        }
    }

    fn drop_source(&self, service: &Service, turn: &mut dyn Turn, exchange: &Exchange, source: Source) {
        if let Source::Blocks(blocks) = source {
            turn.leave();
            let dropped = panics::catch(|| drop(blocks));
            turn.back();
            if let Err(panic) = dropped {
                self.report_panic(service, exchange, "the response body's close", panic);
            }
        }
    }

    /// A panic that comes too late to change the answer.
    fn report_panic(&self, service: &Service, exchange: &Exchange, place: &str, panic: Panic) {
        let report = format!("panic in {place}: {}", panic.report);
        service.pass_through(|| Failure::Panic(panic));
        self.report(service, exchange, &report.into());
    }

    /// Tells the log, by way of the request handler.
    fn report(&self, service: &Service, exchange: &Exchange, error: &AppError) {
        let request_line = self.request_line(exchange.head_length);
        service.tell(|handler, log| handler.handle_error(error, request_line, log));
    }

    fn request_line(&self, head_length: usize) -> &[u8] {
        match &self.buffer {
            Some(buffer) => {
                let bytes = &buffer.bytes[buffer.start..buffer.start + head_length];
                buffer.parser.head(bytes).request_line()
            }
            None => b"",
        }
    }

    #[inline]
    fn log(&self, service: &Service, exchange: &Exchange, status: u16, bytes: u64) {
        let (Some(began), Some(buffer)) = (exchange.began, &self.buffer) else { return };
        let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.start + exchange.head_length]);
        let record = AccessRecord {
            peer: self.peer,
            request_line: head.request_line(),
            target: head.target(),
            head: Some(head),
            status,
            bytes,
            duration: began.elapsed(),
            time: SystemTime::now(),
        };
        service.tell(|handler, log| handler.log_request(&record, log));
    }
}

/// Errors of reading a broken body are the client's, and never end the server.
fn exchange_failed_input(status: u16) -> bool {
    status != 500
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn restore(head: ResponseHead, sending: Option<(ResponsePlan, BodyWriter)>) -> Started {
    match sending {
        Some((plan, writer)) => Started::Sent { head, plan, writer },
        None => Started::Set(head),
    }
}

/// A regular file from its position on; anything else is read as it comes.
fn open_file(mut file: File, length: Option<u64>) -> io::Result<(Source, Option<u64>)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((Source::Blocks(Box::new(FileBlocks { file, left: length })), length));
    }
    let offset = file.stream_position()?;
    let there = metadata.len().saturating_sub(offset);
    let left = length.map_or(there, |length| length.min(there));
    Ok((Source::File { file, offset, left }, Some(left)))
}

/// A pipe or device as an iterator of blocks.
struct FileBlocks {
    file: File,
    left: Option<u64>,
}

impl Iterator for FileBlocks {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = self.left.map_or(FILE_READ, |left| usize::try_from(left).unwrap_or(FILE_READ).min(FILE_READ));
        let mut block = vec![0; wanted];
        match io::Read::read(&mut self.file, &mut block) {
            Ok(0) => None,
            Ok(count) => {
                block.truncate(count);
                self.left = self.left.map(|left| left - count as u64);
                Some(Ok(block))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
