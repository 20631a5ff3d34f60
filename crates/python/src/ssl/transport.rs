//! The side of a TLS connection that the event loop sees.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use amboss::{Handshake, HandshakeInfo, Interest, Socket, Transport, TransportWaker};

use crate::ssl::channel::{Channel, ChannelState};
use crate::ssl::engine::Engine;

/// The maximum number of bytes that one write hands to the engine.
const MAX_WRITE: usize = 256 * 1024;

/// A transport whose bytes the engine encrypts and decrypts.
pub(super) struct PySslTransport {
    engine: Arc<Engine>,
    channel: Arc<Channel>,
    protocol: Protocol,
    /// The number of bytes of the last write that have not been reported as written: the caller repeats that write.
    unreported: usize,
}

/// What the first byte of a connection says about it.
#[derive(PartialEq, Eq)]
enum Protocol {
    /// Nothing has arrived.
    Unknown,
    Tls,
    /// Plain HTTP, with the bytes that were read to find that out. The server redirects to HTTPS.
    Plain(Vec<u8>),
}

impl PySslTransport {
    pub(super) fn new(engine: Arc<Engine>, socket: Arc<Socket>) -> PySslTransport {
        PySslTransport { engine, channel: Arc::new(Channel::new(socket)), protocol: Protocol::Unknown, unreported: 0 }
    }

    /// Returns the plain socket below TLS.
    fn socket(&self) -> impl Transport {
        self.channel.socket.clone()
    }

    /// Hands what has arrived at the socket to the engine.
    fn receive(&self, state: &mut ChannelState) -> io::Result<()> {
        if state.receive(&self.channel.socket)? {
            self.engine.submit(&self.channel, state);
        }
        Ok(())
    }

    /// Hands the wish to end the connection to the engine.
    fn begin_close(&self, shuts_down: bool) {
        let mut state = self.channel.state();
        if state.is_aborted || state.session.is_none() && !state.is_queued {
            return;
        }
        state.closes = true;
        state.shuts_down |= shuts_down;
        self.engine.submit(&self.channel, &mut state);
    }
}

fn failed(failure: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, failure.to_owned())
}

impl Transport for PySslTransport {
    fn handshake(&mut self) -> io::Result<Handshake> {
        let mut state = self.channel.state();
        if let Some(result) = state.handshake.take() {
            return match result {
                Ok(info) => Ok(Handshake::Done(info)),
                Err(failure) => Err(failed(&failure)),
            };
        }
        let all_sent = state.send(&self.channel.socket)?;
        let has_new = state.receive(&self.channel.socket)?;
        if self.protocol == Protocol::Unknown {
            match state.received.first() {
                None if state.has_ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(Handshake::NotStarted),
                Some(byte) if byte.is_ascii_alphabetic() || matches!(byte, b'\r' | b'\n') => {
                    self.protocol = Protocol::Plain(std::mem::take(&mut state.received));
                    return Ok(Handshake::Done(HandshakeInfo::plain_http()));
                }
                Some(_) => self.protocol = Protocol::Tls,
            }
        }
        if has_new {
            self.engine.submit(&self.channel, &mut state);
        }
        Ok(if all_sent { Handshake::Read } else { Handshake::Write })
    }

    fn set_waker(&mut self, waker: TransportWaker) {
        self.channel.state().waker = Some(waker);
    }

    fn awaits_waker(&self) -> bool {
        let state = self.channel.state();
        state.is_queued && state.outgoing.is_empty()
    }

    fn has_buffered(&self) -> bool {
        if let Protocol::Plain(read_ahead) = &self.protocol {
            return !read_ahead.is_empty();
        }
        !self.channel.state().decrypted.is_empty()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Protocol::Plain(read_ahead) = &mut self.protocol {
            if read_ahead.is_empty() {
                return self.socket().read(buffer);
            }
            let count = buffer.len().min(read_ahead.len());
            buffer[..count].copy_from_slice(&read_ahead[..count]);
            read_ahead.drain(..count);
            return Ok(count);
        }
        let mut state = self.channel.state();
        if state.decrypted.is_empty() {
            if let Some(failure) = &state.failure {
                return Err(failed(failure));
            }
            if state.is_read_closed {
                return Ok(0);
            }
            self.receive(&mut state)?;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let was_full = state.is_full();
        let (front, _) = state.decrypted.as_slices();
        let count = front.len().min(buffer.len());
        buffer[..count].copy_from_slice(&front[..count]);
        state.decrypted.drain(..count);
        if was_full && !state.is_full() {
            // What was left in the socket.
            self.receive(&mut state)?;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Protocol::Plain(_) = self.protocol {
            return self.socket().write(bytes);
        }
        let mut state = self.channel.state();
        if let Some(failure) = &state.failure {
            return Err(failed(failure));
        }
        let all_sent = state.send(&self.channel.socket)?;
        if self.unreported == 0 {
            if bytes.is_empty() {
                return Ok(0);
            }
            self.unreported = bytes.len().min(MAX_WRITE);
            state.to_encrypt.extend_from_slice(&bytes[..self.unreported]);
            self.engine.submit(&self.channel, &mut state);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // The write is over when the engine has encrypted the bytes, and the socket has taken them.
        if state.is_queued || !state.to_encrypt.is_empty() || !all_sent {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(std::mem::take(&mut self.unreported))
    }

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        if let Protocol::Plain(_) = self.protocol {
            return if self.has_buffered() { Ok(true) } else { self.socket().wait(interest, timeout) };
        }
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut state = self.channel.state();
            if state.failure.is_some() {
                return Ok(true);
            }
            match interest {
                Interest::Read => {
                    if !state.decrypted.is_empty() || state.is_read_closed {
                        return Ok(true);
                    }
                    self.receive(&mut state)?;
                }
                Interest::Write => {
                    let all_sent = state.send(&self.channel.socket)?;
                    if all_sent && !state.is_queued {
                        return Ok(true);
                    }
                }
            }
            if left.is_zero() {
                return Ok(false);
            }
            if state.is_queued {
                state.waiting += 1;
                let waited = self.channel.processed.wait_timeout_while(state, left, |state| state.is_queued);
                waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
            } else {
                drop(state);
                self.socket().wait(interest, left)?;
            }
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        if let Protocol::Plain(_) = self.protocol {
            return self.socket().shutdown_write();
        }
        self.begin_close(true);
        Ok(())
    }

    fn close(&mut self) {
        self.begin_close(false);
    }

    fn abort(&mut self) -> io::Result<()> {
        self.channel.state().is_aborted = true;
        self.socket().abort()
    }
}

impl Drop for PySslTransport {
    fn drop(&mut self) {
        // The loop that is woken no longer has the connection.
        self.channel.state().waker = None;
    }
}
