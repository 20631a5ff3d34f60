//! Sending the body that the application returned: bytes, blocks or a file. The body is framed, and truncated at the
//! length that the head declares.

use std::fs::File;
use std::io::{self, IoSlice, Seek};
use std::sync::atomic::Ordering;

use super::state::{BodySource, CloseMode, Exchange, Response, ResponseProgress};
use super::{Connection, Step};
use crate::http::{BodyWriter, ResponseFraming, ResponseHead, ResponsePlan};
use crate::server::log::CloseReason;
use crate::server::panics::{self, AppOwned, Panic};
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::service::{Failure, Service};
use crate::server::sys;
use crate::server::upgrade::OnUpgrade;
use crate::wsgi::{AppError, Body, FileBlocks, Kind, OnClose};

/// The maximum size in bytes of a body that is copied behind its head, so that one write sends both, and the next
/// request can be processed before that write.
const COPIED: usize = 16 * 1024;
/// The maximum number of bytes read from a file at once, where `sendfile` is not available.
const FILE_READ: usize = 64 * 1024;
/// The maximum number of bytes requested from one `sendfile` call.
const FILE_SEND: usize = 1 << 20;
/// The maximum number of blocks of one response that are sent in a row while other connections wait.
const BLOCKS_IN_A_ROW: usize = 32;

/// The result of one step of sending.
enum Sent {
    /// More can be sent now.
    More,
    /// More can be sent when this step has been done.
    Wait(Step),
    /// The source is exhausted, or the framing allows no more bytes.
    End,
    /// The client can't be reached.
    PeerGone,
    /// The application's blocks failed.
    Failed(AppError),
    /// The application's blocks panicked.
    Panicked(Panic),
}

impl Connection {
    /// Begins the response to a request whose application has returned `body`.
    pub(super) fn begin_response(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        mut exchange: Exchange,
        body: Body,
        on_upgrade: Option<OnUpgrade>,
    ) {
        exchange.context.keep_alive &= exchange.body.is_drainable(service.settings.limits.drain);
        // While the application ran, the server may have begun to hand over its connections, and one with a transport
        // layer can't be handed over.
        exchange.context.keep_alive &= self.is_plain() || !service.hands_over.load(Ordering::Relaxed);
        let status = match exchange.progress {
            ResponseProgress::HeadSet { head, .. } | ResponseProgress::Streaming { head, .. } => head.status(),
            ResponseProgress::NotStarted => {
                self.close_body(service, scheduler, &exchange, body);
                let error = "the application returned without calling start_response";
                return self.abort(service, exchange, error.into());
            }
        };
        if status == 101 {
            self.close_body(service, scheduler, &exchange, body);
            return self.switch_protocols(service, exchange, on_upgrade);
        }
        let (source, length) = match open_source(body) {
            Ok(opened) => opened,
            Err(error) => return self.abort(service, exchange, error.into()),
        };
        let has_no_body = exchange.context.head || !crate::http::allows_body(status);
        // The framing of blocks is decided when the first block is known; all other bodies have a known framing now.
        if has_no_body || !matches!(source, BodySource::Blocks(_)) {
            self.finish_head(service, &mut exchange, length);
        }
        let is_chunked = matches!(exchange.progress, ResponseProgress::Streaming { plan, .. }
            if plan.framing == ResponseFraming::Chunked);
        match (exchange.progress, source) {
            (ResponseProgress::Streaming { head, plan, mut writer }, BodySource::Bytes { data, .. })
                if data.len() <= COPIED || has_no_body || is_chunked =>
            {
                writer.append(&data, &mut self.out.bytes);
                self.complete_response(service, exchange, &head, plan, writer);
            }
            (progress, source) => {
                if let Some(head_start) = progress.head_start().filter(|&start| self.out.sent < start) {
                    // Earlier responses do not have to wait for the first block of this one.
                    let _ = self.out.flush_to(head_start, &mut *self.transport);
                }
                let source = if is_chunked { file_as_blocks(source) } else { source };
                self.continue_response(Box::new(Response { exchange, source, streaming: false }));
            }
        }
    }

    /// Completes a head that has been set, with the framing fields for a body of this length.
    #[inline]
    fn finish_head(&mut self, service: &Service, exchange: &mut Exchange, length: Option<u64>) {
        if let ResponseProgress::HeadSet { head, .. } = exchange.progress {
            let plan = service.finish_head(&head, &mut self.out.bytes, exchange.context, length);
            exchange.progress = ResponseProgress::Streaming { head, plan, writer: BodyWriter::new(plan.framing) };
        }
    }

    /// Leaves HTTP after response 101 (RFC 9110 §7.8).
    fn switch_protocols(&mut self, service: &Service, mut exchange: Exchange, on_upgrade: Option<OnUpgrade>) {
        let error = match &on_upgrade {
            None => Some("the application responded with 101 but did not set a handler; call amboss_core::on_upgrade"),
            // The client has to offer the upgrade.
            Some(_) if !exchange.upgrade_offered => {
                Some("the application responded with 101 to a request that does not offer an upgrade")
            }
            // The new protocol begins after the request, so the rest of the body would be taken for it.
            Some(_) if !exchange.body.is_done() => {
                Some("the application responded with 101 before it had read the body of the request")
            }
            Some(_) => None,
        };
        let on_upgrade = match (error, on_upgrade) {
            (None, Some(on_upgrade)) => on_upgrade,
            (error, _) => return self.abort(service, exchange, error.unwrap_or_default().into()),
        };
        // Has no effect if the application has called `write`: the head is complete then.
        self.finish_head(service, &mut exchange, None);
        debug_assert!(matches!(exchange.progress, ResponseProgress::Streaming { plan, .. } if !plan.keep_alive));
        self.log_when_written(service, &mut exchange, 101, 0);
        let consumed = exchange.consumed;
        if let Some(buffer) = &mut self.buffer {
            buffer.next_request(consumed);
        }
        self.answered += 1;
        self.begin_upgrade(on_upgrade);
    }

    /// Continues to send a response that did not fit into the write buffer. Returns `None` if the state has changed.
    pub(super) fn send_response(&mut self, service: &Service, scheduler: &mut dyn Scheduler) -> Option<Step> {
        let mut response = self.take_response()?;
        let mut blocks = 0;
        loop {
            match self.send_more(service, scheduler, &mut response, &mut blocks) {
                Sent::More => {}
                Sent::Wait(step) => {
                    self.continue_response(response);
                    return Some(step);
                }
                Sent::End => {
                    self.end_response(service, scheduler, response);
                    return None;
                }
                Sent::PeerGone => return Some(self.abandon_response(service, scheduler, response)),
                Sent::Failed(error) => {
                    self.fail_streaming(service, scheduler, response, error);
                    return None;
                }
                Sent::Panicked(panic) => {
                    let report = format!("panic in the response body: {}", panic.report);
                    if service.record_failure(|| Failure::Panic(panic)) {
                        let Response { exchange, source, .. } = *response;
                        self.close_source(service, scheduler, &exchange, source);
                        self.abort_silently(exchange);
                    } else {
                        self.fail_streaming(service, scheduler, response, report.into());
                    }
                    return None;
                }
            }
        }
    }

    /// Sends the write buffer, and then the next piece of the source. Each block is sent before the next one is
    /// requested from the application (PEP 3333).
    fn send_more(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        response: &mut Response,
        blocks: &mut usize,
    ) -> Sent {
        if let ResponseProgress::Streaming { .. } = response.exchange.progress {
            if self.out.unsent() > 0 {
                match self.flush_response(service, scheduler, response) {
                    Sent::More => {}
                    other => return other,
                }
            }
        }
        *blocks += 1;
        if *blocks > BLOCKS_IN_A_ROW && scheduler.holds_loop() {
            return Sent::Wait(Step::Yield);
        }
        if let ResponseProgress::Streaming { writer, .. } = &response.exchange.progress {
            if writer.is_complete() || writer.framing() == ResponseFraming::Empty {
                return Sent::End;
            }
        }
        match &response.source {
            BodySource::Bytes { .. } => self.send_bytes(service, response),
            BodySource::File { .. } => self.send_file(service, response),
            BodySource::Blocks(_) => self.send_block(service, scheduler, response),
        }
    }

    /// Sends the write buffer, which holds the head and framed blocks.
    fn flush_response(&mut self, service: &Service, scheduler: &mut dyn Scheduler, response: &mut Response) -> Sent {
        let is_first = !std::mem::replace(&mut response.streaming, true);
        if is_first && scheduler.holds_loop() && matches!(response.source, BodySource::Blocks(_)) {
            // Most responses have a single block. It is sent with the responses of the batch, before the application is
            // asked for the next one, so that the application's remaining work delays no response.
            return Sent::Wait(Step::Flush);
        }
        if let Err(error) = self.send_head_with_bytes(response) {
            if !is_not_now(&error) {
                return Sent::PeerGone;
            }
        }
        let before = self.out.unsent();
        match self.out.flush(&mut *self.transport) {
            Ok(true) => {
                self.writing = None;
                self.log_written(service);
                Sent::More
            }
            Ok(false) => {
                self.note_written(service, before - self.out.unsent());
                Sent::Wait(Step::Write)
            }
            Err(_) => Sent::PeerGone,
        }
    }

    /// Sends the head and the beginning of a body of bytes with one system call.
    fn send_head_with_bytes(&mut self, response: &mut Response) -> io::Result<()> {
        let ResponseProgress::Streaming { writer, .. } = &mut response.exchange.progress else { return Ok(()) };
        let BodySource::Bytes { data, sent } = &mut response.source else { return Ok(()) };
        if *sent > 0 || writer.framing() == ResponseFraming::Chunked {
            return Ok(());
        }
        let allowed = writer.allowed(data.len() as u64) as usize;
        let pending = &self.out.bytes[self.out.sent..];
        let count = self.transport.write_vectored(&[IoSlice::new(pending), IoSlice::new(&data[..allowed])])?;
        let of_head = count.min(pending.len());
        self.out.sent += of_head;
        self.out.reset_if_drained();
        *sent = count - of_head;
        writer.advance(*sent as u64);
        Ok(())
    }

    fn send_bytes(&mut self, service: &Service, response: &mut Response) -> Sent {
        let ResponseProgress::Streaming { writer, .. } = &mut response.exchange.progress else { return Sent::End };
        let BodySource::Bytes { data, sent } = &mut response.source else { return Sent::End };
        let allowed = writer.allowed((data.len() - *sent) as u64) as usize;
        if allowed == 0 {
            return Sent::End;
        }
        match self.transport.write(&data[*sent..*sent + allowed]) {
            Ok(count) => {
                *sent += count;
                writer.advance(count as u64);
                self.continue_writing(service, count);
                Sent::More
            }
            Err(error) => self.not_sent(service, &error),
        }
    }

    /// Sends the next part of a file, with `sendfile` if the transport supports it, else by reading the file.
    fn send_file(&mut self, service: &Service, response: &mut Response) -> Sent {
        let ResponseProgress::Streaming { writer, .. } = &mut response.exchange.progress else { return Sent::End };
        let BodySource::File { file, offset, left, .. } = &mut response.source else { return Sent::End };
        let allowed = writer.allowed(*left);
        if allowed == 0 {
            return Sent::End;
        }
        let wanted = usize::try_from(allowed).unwrap_or(usize::MAX).min(FILE_SEND);
        let count = match self.transport.send_file(file, *offset, wanted) {
            Ok(Some(count)) => {
                writer.advance(count as u64);
                self.continue_writing(service, count);
                count
            }
            Ok(None) => {
                let mut piece = vec![0; wanted.min(FILE_READ)];
                let count = sys::read_at(file, &mut piece, *offset).unwrap_or(0);
                writer.append(&piece[..count], &mut self.out.bytes);
                count
            }
            Err(error) => return self.not_sent(service, &error),
        };
        if count == 0 {
            // The file has been truncated, or can't be read.
            return Sent::End;
        }
        *offset += count as u64;
        *left -= count as u64;
        Sent::More
    }

    /// Requests the next block from the application, which may take as long as a request, and puts it into the write
    /// buffer.
    fn send_block(&mut self, service: &Service, scheduler: &mut dyn Scheduler, response: &mut Response) -> Sent {
        let BodySource::Blocks(blocks) = &mut response.source else { return Sent::End };
        let Some(blocks) = blocks.get_mut() else { return Sent::End };
        if scheduler.holds_loop() {
            match scheduler.admit() {
                Admission::Queue => return Sent::Wait(Step::Queued),
                Admission::Dispatch => return Sent::Wait(Step::Dispatch),
                Admission::Run | Admission::Fork => {}
            }
        }
        scheduler.enter_blocking();
        let next = panics::catch(|| {
            let block = blocks.next();
            // If the iterator knows that this was the last block, the head can declare a length.
            let is_last = block.is_some() && blocks.size_hint() == (0, Some(0));
            (block, is_last)
        });
        service.exit_blocking(scheduler);
        match next {
            Ok((Some(Ok(block)), is_last)) => {
                if block.is_empty() && !is_last {
                    return Sent::More;
                }
                self.finish_head(service, &mut response.exchange, is_last.then_some(block.len() as u64));
                if let ResponseProgress::Streaming { writer, .. } = &mut response.exchange.progress {
                    writer.append(&block, &mut self.out.bytes);
                }
                Sent::More
            }
            Ok((None, _)) => Sent::End,
            Ok((Some(Err(error)), _)) => Sent::Failed(error),
            Err(panic) => Sent::Panicked(panic),
        }
    }

    /// Handles a write that the transport did not accept: the client is slow, or gone.
    fn not_sent(&mut self, service: &Service, error: &io::Error) -> Sent {
        if is_not_now(error) {
            self.note_written(service, 0);
            Sent::Wait(Step::Write)
        } else {
            Sent::PeerGone
        }
    }

    /// Ends a response whose source is exhausted, or whose framing allows no more bytes.
    fn end_response(&mut self, service: &Service, scheduler: &mut dyn Scheduler, response: Box<Response>) {
        let Response { mut exchange, source, .. } = *response;
        self.finish_head(service, &mut exchange, Some(0));
        let ResponseProgress::Streaming { head, plan, writer } = exchange.progress else { return };
        self.writing = None;
        let is_whole = writer.end(&mut self.out.bytes);
        if is_whole && source.has_close() && self.out.unsent() > 0 {
            // The client does not have to wait for the application's `close()`. The next flush handles bytes that can't
            // be sent now, and errors.
            let _ = self.out.flush(&mut *self.transport);
        }
        let status = head.status();
        let is_written = self.out.unsent() == 0;
        if is_written {
            self.log(service, &exchange, status, writer.written());
        }
        self.close_source(service, scheduler, &exchange, source);
        if !is_written {
            self.log_when_written(service, &mut exchange, status, writer.written());
        }
        self.finish_response(service, exchange, plan, writer, is_whole);
    }

    /// Ends a response that is completely in the write buffer.
    #[inline]
    fn complete_response(
        &mut self,
        service: &Service,
        mut exchange: Exchange,
        head: &ResponseHead,
        plan: ResponsePlan,
        writer: BodyWriter,
    ) {
        let is_whole = writer.end(&mut self.out.bytes);
        self.log_when_written(service, &mut exchange, head.status(), writer.written());
        self.finish_response(service, exchange, plan, writer, is_whole);
    }

    #[inline]
    fn finish_response(
        &mut self,
        service: &Service,
        exchange: Exchange,
        plan: ResponsePlan,
        writer: BodyWriter,
        is_whole: bool,
    ) {
        self.answered += 1;
        if !is_whole {
            self.set_close_reason(CloseReason::ResponseAborted);
            service.settings.log.error(&format!(
                "the application declared more bytes than it gave (it gave {}); the connection is cut",
                writer.written()
            ));
            return self.begin_closing(CloseMode::Immediate);
        }
        self.end_exchange(exchange, plan.keep_alive);
    }
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Opens the body that the application returned. Returns its length if it is known.
fn open_source(body: Body) -> io::Result<(BodySource, Option<u64>)> {
    match body.0 {
        Kind::Bytes(data) => {
            let length = data.len() as u64;
            Ok((BodySource::Bytes { data, sent: 0 }, Some(length)))
        }
        Kind::Blocks(blocks) => Ok((BodySource::Blocks(AppOwned::new(blocks)), None)),
        Kind::File { file, length, close } => open_file(file, length, close),
    }
}

/// Opens a regular file from its current position on. Anything else is read as blocks.
fn open_file(mut file: File, length: Option<u64>, close: Option<OnClose>) -> io::Result<(BodySource, Option<u64>)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((as_blocks(file, length, close), length));
    }
    let offset = file.stream_position()?;
    // Files that the system generates while they are read, such as those in /proc, report a length of 0.
    if metadata.len() == 0 && !matches!(sys::read_at(&file, &mut [0], offset), Ok(0)) {
        return Ok((as_blocks(file, length, close), None));
    }
    let there = metadata.len().saturating_sub(offset);
    let left = length.map_or(there, |length| length.min(there));
    Ok((BodySource::File { file, offset, left, close: close.map(AppOwned::new) }, Some(left)))
}

/// Turns a file into blocks, because its bytes have to be framed as chunks after the application has called `write`.
fn file_as_blocks(source: BodySource) -> BodySource {
    match source {
        BodySource::File { file, left, close, .. } => as_blocks(file, Some(left), close.and_then(AppOwned::into_inner)),
        other => other,
    }
}

fn as_blocks(file: File, left: Option<u64>, close: Option<OnClose>) -> BodySource {
    BodySource::Blocks(AppOwned::new(Box::new(FileBlocks { file, left, _close: close })))
}
