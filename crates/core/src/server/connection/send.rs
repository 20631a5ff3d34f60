//! Sending a response that does not fit into the write buffer: bytes, a file, or the application's blocks, one piece at a
//! time.

use std::io::{self, IoSlice};

use super::body_source::BodySource;
use super::state::{Response, ResponseProgress};
use super::{Connection, Step};
use crate::http::ResponseFraming;
use crate::server::panics::{self, Panic};
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::service::{Failure, Service};
use crate::server::sys;
use crate::wsgi::AppError;

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
    /// More can be sent after this step.
    Wait(Step),
    /// The source is exhausted, or the framing allows no more bytes.
    End,
    /// The client can't be reached.
    PeerGone,
    /// The application's blocks failed.
    Failed(AppError),
    /// The application's blocks panicked.
    Panicked(Box<Panic>),
}

impl Connection {
    /// Continues to send a response that did not fit into the write buffer. Returns `None` if the state has changed.
    #[inline(never)]
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
                    self.end_streamed_response(service, scheduler, response);
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
                        self.abort_silently(&exchange);
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
            if self.write_buffer.unsent() > 0 {
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
            BodySource::File { .. } => self.send_file(service, scheduler, response),
            BodySource::Blocks(_) => self.send_block(service, scheduler, response),
        }
    }

    /// Sends the write buffer, or leaves it to the flush of the batch if it holds the first block.
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
        let before = self.write_buffer.unsent();
        match self.write_buffer.flush(&mut *self.transport) {
            Ok(true) => {
                self.writing = None;
                self.log_written(service);
                Sent::More
            }
            Ok(false) => {
                self.note_written(service, before - self.write_buffer.unsent());
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
        let pending = &self.write_buffer.bytes[self.write_buffer.sent..];
        let count = self.transport.write_vectored(&[IoSlice::new(pending), IoSlice::new(&data[..allowed])])?;
        let of_head = count.min(pending.len());
        self.write_buffer.sent += of_head;
        self.write_buffer.reset_if_drained();
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

    /// Sends the next part of a file, with `sendfile` if the transport supports it, else by reading the file. This is a
    /// blocking call if the part has to be read from a disk. Of a file in memory it is none: announcing each call, and
    /// handing the loop over when one takes long, cost half as much CPU time again.
    fn send_file(&mut self, service: &Service, scheduler: &mut dyn Scheduler, response: &mut Response) -> Sent {
        let ResponseProgress::Streaming { writer, .. } = &mut response.exchange.progress else { return Sent::End };
        let BodySource::File { file, offset, left, .. } = &mut response.source else { return Sent::End };
        let allowed = writer.allowed(*left);
        if allowed == 0 {
            return Sent::End;
        }
        let wanted = usize::try_from(allowed).unwrap_or(usize::MAX).min(FILE_SEND);
        let is_blocking = !sys::is_in_memory(file, *offset + wanted as u64 - 1);
        if is_blocking {
            scheduler.enter_blocking();
        }
        let sent = self.transport.send_file(file, *offset, wanted);
        let piece = match &sent {
            Ok(None) => {
                let mut piece = vec![0; wanted.min(FILE_READ)];
                let count = sys::read_at(file, &mut piece, *offset).unwrap_or(0);
                piece.truncate(count);
                piece
            }
            _ => Vec::new(),
        };
        if is_blocking {
            service.exit_blocking(scheduler);
        }
        let count = match sent {
            Ok(Some(count)) => {
                writer.advance(count as u64);
                self.continue_writing(service, count);
                count
            }
            Ok(None) => {
                writer.append(&piece, &mut self.write_buffer.bytes);
                piece.len()
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
        if scheduler.holds_loop() && !response.exchange.is_immediate {
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
                    writer.append(&block, &mut self.write_buffer.bytes);
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
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
