//! What the application returned, on its way out: bytes, blocks and files, framed, cut when they must be, and what
//! comes after them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek};
use std::sync::atomic::Ordering;

use super::super::log::CloseReason;
use super::super::panics::{self, Theirs};
use super::super::service::{Failure, Service};
use super::super::streamed_body::BodyState;
use super::super::sys;
use super::super::upgrade::OnUpgrade;
use super::super::wire::Started;
use crate::http::{Answering, BodyWriter, ResponseFraming, ResponseHead, ResponsePlan};
use crate::wsgi::{Blocks, Body, FileBlocks, Kind, OnClose};

use super::access::RequestClock;
use super::{After, Connection, Permission, State, Step, Transfer, Turn, IN_A_ROW};

/// Answers up to this size are copied behind their head, so that one write sends both and the next request can begin.
const COPIED: usize = 16 * 1024;
/// What is read from a file at once where it can't be sent directly, and the most that is asked of one `sendfile`.
const FILE_READ: usize = 64 * 1024;
const FILE_SEND: usize = 1 << 20;

/// An answer that did not fit into the buffer or is not complete yet.
pub(super) struct Respond {
    pub(super) exchange: Exchange,
    pub(super) head: ResponseHead,
    /// Where the head stands in the buffer while it waits for its first block.
    pub(super) mark: usize,
    /// `None` until the first non-empty block.
    pub(super) sending: Option<(ResponsePlan, BodyWriter)>,
    pub(super) source: Source,
    /// The first block left with the answers of its batch, or leaves at once.
    pub(super) under_way: bool,
}

pub(super) enum Source {
    Bytes { data: Cow<'static, [u8]>, sent: usize },
    Blocks(Theirs<Blocks>),
    File { file: File, offset: u64, left: u64, close: Option<Theirs<OnClose>> },
}

impl Source {
    /// Is there something of the application's that is dropped with it, and may take its time?
    pub(super) fn has_close(&self) -> bool {
        !matches!(self, Source::Bytes { .. } | Source::File { close: None, .. })
    }
}

/// A request while it is being answered.
pub(super) struct Exchange {
    /// The head's length in the buffer, which still holds it.
    pub(super) head_length: usize,
    /// Bytes of the buffer that belong to this request, as far as its body was read.
    pub(super) consumed: usize,
    pub(super) answering: Answering,
    /// The client itself said that this is its last request, and it has no body. Behind a body some clients send a line
    /// end that belongs to nothing; a connection that was closed meanwhile would reset theirs, and the answer be lost.
    pub(super) client_closes: bool,
    pub(super) upgrade_offered: bool,
    pub(super) body: BodyState,
    pub(super) clock: RequestClock,
}

impl Connection {
    /// The application has returned a body.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn begin_answer(
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
        // While the application ran, the server may have been told to hand over what this connection can't follow.
        exchange.answering.keep_alive &= self.is_plain() || !service.hands_over.load(Ordering::Relaxed);
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
            Kind::Blocks(blocks) => (Source::Blocks(Theirs::new(blocks)), None),
            Kind::File { file, length, close } => match open_file(file, length, close) {
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
                if let (true, Source::File { file, left, close, .. }) = (chunked, &mut source) {
                    // After `write`, what follows has to be framed as chunks.
                    match file.try_clone() {
                        Ok(file) => {
                            let close = close.take().and_then(Theirs::into_inner);
                            source = as_blocks(file, Some(*left), close);
                        }
                        Err(error) => return self.fail(service, exchange, restore(head, sending), mark, error.into()),
                    }
                }
                let mark = mark.unwrap_or(self.out.bytes.len());
                if sending.is_none() && self.out.sent < mark {
                    // Earlier answers don't wait for the first block of this one.
                    let _ = self.out.flush_to(mark, &mut *self.transport);
                }
                let under_way = false;
                self.state = State::Respond(Box::new(Respond { exchange, head, mark, sending, source, under_way }));
            }
        }
    }

    /// 101: the connection leaves HTTP.
    pub(super) fn switch(
        &mut self,
        service: &Service,
        mut exchange: Exchange,
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
        self.log_when_written(service, &mut exchange, 101, 0);
        let consumed = exchange.consumed;
        if let Some(buffer) = &mut self.buffer {
            buffer.next_request(consumed);
        }
        debug_assert!(!plan.keep_alive);
        self.answered += 1;
        self.state = State::Upgrade(on_upgrade);
    }

    /// Sends more of a long answer. `None` when the state has changed.
    pub(super) fn respond(&mut self, service: &Service, turn: &mut dyn Turn) -> Option<Step> {
        let State::Respond(mut respond) = std::mem::replace(&mut self.state, State::Closed) else { return None };
        let mut in_a_row = 0;
        loop {
            // Every block leaves before the next one is asked for. A head that waits for its first block is not
            // flushed: it stands behind the mark, and nothing else does.
            let held = respond.sending.is_none();
            if !held && self.out.unsent() > 0 {
                let is_first = !std::mem::replace(&mut respond.under_way, true);
                if is_first && turn.leads() && matches!(respond.source, Source::Blocks(_)) {
                    // Most answers are a single block: it leaves together with the answers of the batch, and what the
                    // application does after it delays nobody.
                    self.state = State::Respond(respond);
                    return Some(Step::Flush);
                }
                if let Source::Bytes { data, sent: 0 } = &respond.source {
                    // Head and body in one system call.
                    if let Some((_, writer)) = &mut respond.sending {
                        if writer.framing() != ResponseFraming::Chunked {
                            let admitted = writer.allowed(data.len() as u64) as usize;
                            let pending = &self.out.bytes[self.out.sent..];
                            match self.transport.write_two(pending, &data[..admitted]) {
                                Ok(count) => {
                                    let from_out = count.min(pending.len());
                                    self.out.sent += from_out;
                                    self.out.tidy();
                                    let from_data = count - from_out;
                                    writer.advance(from_data as u64);
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
                    Ok(true) => {
                        self.writing = None;
                        self.log_written(service);
                    }
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
                .is_some_and(|(_, writer)| writer.is_complete() || writer.framing() == ResponseFraming::Empty);
            if full {
                return self.end_answer(service, turn, respond);
            }
            match &mut respond.source {
                Source::Bytes { data, sent } => {
                    let Some((_, writer)) = &mut respond.sending else { return Some(self.end()) };
                    let admitted = writer.allowed((data.len() - *sent) as u64) as usize;
                    if admitted == 0 {
                        return self.end_answer(service, turn, respond);
                    }
                    match self.transport.write(&data[*sent..*sent + admitted]) {
                        Ok(count) => {
                            *sent += count;
                            writer.advance(count as u64);
                            if self.writing.is_some() {
                                self.note_written(service, count);
                            }
                        }
                        Err(error) if is_not_now(&error) => return self.blocked(service, respond),
                        Err(error) => return self.abandon(service, turn, respond, error),
                    }
                }
                Source::File { file, offset, left, .. } => {
                    let Some((_, writer)) = &mut respond.sending else { return Some(self.end()) };
                    let admitted = writer.allowed(*left);
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
                            writer.advance(count as u64);
                            if self.writing.is_some() {
                                self.note_written(service, count);
                            }
                        }
                        Ok(None) => {
                            let mut piece = vec![0; count.min(FILE_READ)];
                            match sys::read_at(file, &mut piece, *offset) {
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
                    let Some(blocks) = blocks.get_mut() else { return Some(self.end()) };
                    // The next block may take as long as a request.
                    if turn.leads() {
                        let step = match turn.permission() {
                            Permission::Wait => Some(Step::Turn),
                            Permission::Dispatch => Some(Step::Dispatch),
                            Permission::Run | Permission::Fork => None,
                        };
                        if step.is_some() {
                            self.state = State::Respond(respond);
                            return step;
                        }
                    }
                    turn.leave();
                    let next = panics::catch(|| {
                        let block = blocks.next();
                        // Does the iterator know that this was all?
                        let last = block.is_some() && blocks.size_hint() == (0, Some(0));
                        (block, last)
                    });
                    service.back(turn);
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

    pub(super) fn blocked(&mut self, service: &Service, respond: Box<Respond>) -> Option<Step> {
        self.note_written(service, 0);
        self.state = State::Respond(respond);
        Some(Step::Write)
    }

    /// The source has nothing more, or nothing more belongs on the wire.
    pub(super) fn end_answer(&mut self, service: &Service, turn: &mut dyn Turn, respond: Box<Respond>) -> Option<Step> {
        let Respond { mut exchange, head, sending, source, .. } = *respond;
        let (plan, writer) = sending.unwrap_or_else(|| {
            let plan = service.finish_head(&head, &mut self.out.bytes, exchange.answering, Some(0));
            (plan, BodyWriter::new(plan.framing))
        });
        self.writing = None;
        let whole = writer.end(&mut self.out.bytes);
        if whole && source.has_close() && self.out.unsent() > 0 {
            // What the application does when its body is closed is nothing that the client has to wait for. What does
            // not leave now, or never will, is seen to with what comes next.
            let _ = self.out.flush(&mut *self.transport);
        }
        let status = head.status();
        let is_written = self.out.unsent() == 0;
        if is_written {
            self.log(service, &exchange, status, writer.written());
        }
        self.drop_source(service, turn, &exchange, source);
        if !is_written {
            self.log_when_written(service, &mut exchange, status, writer.written());
        }
        self.finish(service, exchange, plan, writer, whole);
        None
    }

    /// Everything the application gave stands in the buffer.
    #[inline]
    pub(super) fn complete(
        &mut self,
        service: &Service,
        mut exchange: Exchange,
        head: &ResponseHead,
        plan: ResponsePlan,
        writer: BodyWriter,
    ) {
        let whole = writer.end(&mut self.out.bytes);
        self.log_when_written(service, &mut exchange, head.status(), writer.written());
        self.finish(service, exchange, plan, writer, whole);
    }

    /// The answer has ended: as it should, or because there was no more of it.
    #[inline]
    fn finish(&mut self, service: &Service, exchange: Exchange, plan: ResponsePlan, writer: BodyWriter, whole: bool) {
        self.answered += 1;
        if !whole {
            self.set_reason(CloseReason::CutShort);
            service.settings.log.error(&format!(
                "the application declared more bytes than it gave ({} came); the connection is cut",
                writer.written()
            ));
            self.state = State::Closing(After::Close);
            return;
        }
        self.move_on(exchange, plan.keep_alive);
    }

    /// What comes after an answer: the next request, the rest of this one's body, or the end.
    #[inline]
    pub(super) fn move_on(&mut self, exchange: Exchange, keep_alive: bool) {
        let left = self.buffer.as_ref().is_some_and(|buffer| buffer.len() > exchange.consumed);
        // The head may have promised more, when it left before the application had decided not to read.
        if !keep_alive || exchange.body.failed.is_some() || exchange.body.continue_pending {
            let announced = exchange.client_closes && exchange.body.is_done() && !left;
            if exchange.body.continue_pending {
                self.set_reason(CloseReason::NotContinued);
            } else if !exchange.body.is_done() {
                self.set_reason(CloseReason::Undrained);
            }
            self.state = State::Closing(After::Linger { announced });
            return;
        }
        if let Some(buffer) = &mut self.buffer {
            buffer.next_request(exchange.consumed);
            // The next head may have begun; its time counts from when it turns out not to be all there.
            self.counting = !left;
        }
        self.state = if exchange.body.is_done() {
            State::Head
        } else {
            self.reading = Transfer::default();
            State::Drain(exchange.body)
        };
    }
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

pub(super) fn restore(head: ResponseHead, sending: Option<(ResponsePlan, BodyWriter)>) -> Started {
    match sending {
        Some((plan, writer)) => Started::Sent { head, plan, writer },
        None => Started::Set(head),
    }
}

/// A regular file from its position on; anything else is read as it comes.
fn open_file(mut file: File, length: Option<u64>, close: Option<OnClose>) -> io::Result<(Source, Option<u64>)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((as_blocks(file, length, close), length));
    }
    let offset = file.stream_position()?;
    // Files that the system makes up as they are read, in /proc, say that they are empty.
    if metadata.len() == 0 && !matches!(sys::read_at(&file, &mut [0], offset), Ok(0)) {
        return Ok((as_blocks(file, length, close), None));
    }
    let there = metadata.len().saturating_sub(offset);
    let left = length.map_or(there, |length| length.min(there));
    Ok((Source::File { file, offset, left, close: close.map(Theirs::new) }, Some(left)))
}

fn as_blocks(file: File, left: Option<u64>, close: Option<OnClose>) -> Source {
    Source::Blocks(Theirs::new(Box::new(FileBlocks { file, left, _close: close })))
}
