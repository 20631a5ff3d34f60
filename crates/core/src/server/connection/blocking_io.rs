//! Reads and writes that wait for the client while the application runs.

use std::io;
use std::time::Duration;

use super::state::ResponseProgress;
use super::write_buffer::WriteBuffer;
use crate::server::io::transport::Transport;
use crate::server::scheduler::Scheduler;
use crate::server::service::Service;
use crate::server::sys::Interest;
use crate::wsgi::ResponseFilter;

/// How long the first wait for a client may take before the scheduler is told about it.
const SHORT_WAIT: Duration = Duration::from_millis(1);

/// The first and the longest interval at which a thread that waits for its client asks the scheduler again whether it
/// may give up its slot. The interval doubles each time.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// The part of a connection that is accessible while the application runs.
pub(super) struct BlockingIo<'c> {
    pub(super) transport: &'c mut dyn Transport,
    pub(super) write_buffer: &'c mut WriteBuffer,
    pub(super) service: &'c Service,
    pub(super) scheduler: &'c mut dyn Scheduler,
    /// Whether this exchange has already waited for the client for longer than [`SHORT_WAIT`].
    pub(super) is_slow: bool,
    pub(super) progress: &'c mut ResponseProgress,
    /// The filters of the response, if the application has detached it from its call.
    pub(super) detached: Option<Vec<Box<dyn ResponseFilter>>>,
}

impl BlockingIo<'_> {
    /// Waits until the transport is ready, at most until the deadline of the transfer.
    fn wait(&mut self, interest: Interest, started: u64, last_progress: u64, transferred: u64) -> io::Result<()> {
        let now = self.service.now();
        let deadline = self.service.settings.timeouts.transfer_deadline(started, last_progress, transferred);
        let left = Duration::from_millis(deadline.saturating_sub(now));
        let short = if self.is_slow { Duration::ZERO } else { left.min(SHORT_WAIT) };
        if !short.is_zero() && self.transport.wait(interest, short)? {
            return Ok(());
        }
        self.is_slow = true;
        let mut left = left.saturating_sub(short);
        let (mut interval, longest) = ASK_AGAIN;
        while !left.is_zero() {
            if self.scheduler.begin_client_wait() {
                let ready = self.transport.wait(interest, left);
                self.scheduler.end_client_wait();
                return if ready? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
            }
            if self.transport.wait(interest, interval.min(left))? {
                return Ok(());
            }
            left = left.saturating_sub(interval);
            interval = longest.min(2 * interval);
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Reads at least one byte. Returns 0 at the end of the stream.
    ///
    /// `received` is the number of bytes received before, and `waited` is how many milliseconds the server has waited
    /// for them. Only this time counts for the minimum transfer rate; the time between the application's reads does
    /// not.
    pub(super) fn read_blocking(&mut self, buffer: &mut [u8], received: u64, waited: &mut u64) -> io::Result<usize> {
        loop {
            match self.transport.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = self.service.now();
                    let result = self.wait(Interest::Read, now.saturating_sub(*waited), now, received);
                    *waited += self.service.now() - now;
                    result?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends the bytes of the write buffer before `end`.
    pub(super) fn flush_blocking(&mut self, end: usize) -> io::Result<()> {
        let started = self.service.now();
        let (mut last_progress, mut transferred) = (started, 0);
        loop {
            let unsent = self.write_buffer.unsent();
            if self.write_buffer.flush_to(end, self.transport)? {
                return Ok(());
            }
            let written = unsent - self.write_buffer.unsent();
            if written > 0 {
                last_progress = self.service.now();
                transferred += written as u64;
            }
            self.wait(Interest::Write, started, last_progress, transferred)?;
        }
    }

    /// Sends `100 Continue`.
    pub(super) fn send_continue(&mut self) -> io::Result<()> {
        self.send_interim(b"HTTP/1.1 100 Continue\r\n\r\n")
    }

    /// Sends an interim response: after earlier responses, and before a head that has been set but not sent.
    pub(super) fn send_interim(&mut self, response: &[u8]) -> io::Result<()> {
        let end = self.progress.head_start().unwrap_or(self.write_buffer.bytes.len());
        if self.write_buffer.sent < end {
            self.flush_blocking(end)?;
        }
        let mut rest = response;
        let started = self.service.now();
        while !rest.is_empty() {
            match self.transport.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Interest::Write, started, started, 0)?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
