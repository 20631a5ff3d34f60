//! A connection on a port that speaks TLS, encrypted or not. It never blocks and occupies no thread.
//!
//! ```text
//!   New ──the first byte begins a TLS record──► Encrypted (handshake, then traffic)
//!     │                                             └─────► Failed (discards further input)
//!     └───the first byte begins a line of text──► Plain
//! ```
//!
//! # How a connection ends
//!
//! RFC 8446 §6.1 requires each side to announce that it sends no more (close_notify), because an attacker who can cut a
//! connection could otherwise pass off a part of the data as the whole. This server treats an end of the stream without
//! that alert as an ordinary end, as RFC 9112 §9.8 asks of servers: it reads only requests, whose framing
//! (Content-Length or chunks) shows when one is cut short, and many clients never send the alert. The server still
//! responds to the requests before the end. Only protocols that follow an upgrade have to mark the ends of their
//! messages themselves.
//!
//! The other direction is different, because a response can last until the connection ends: the server sends
//! close_notify when it ends a connection on purpose, and never when it cuts a response short.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use amboss_core::{Handshake, HandshakeInfo, Interest, PlainHttpPolicy, Socket, Transport};
use rustls::ServerConfig;

use crate::encrypted_stream::EncryptedStream;
use crate::plain_http;
use crate::record_layer::{Progress, ScratchBuffer};
use crate::session;
use crate::tls_error::to_io_error;

/// The first byte of a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// A connection and what is known about its protocol.
pub(crate) struct TlsTransport {
    socket: Arc<Socket>,
    state: State,
}

enum State {
    /// The client has sent nothing yet; no memory is allocated for it.
    New(Arc<ServerConfig>, plain_http::PlainHttpPolicy),
    Encrypted(Box<EncryptedStream>),
    /// Plain HTTP, with the bytes that were read to detect it.
    Plain(Vec<u8>),
    /// The handshake failed.
    Failed,
}

impl TlsTransport {
    pub(crate) fn new(
        socket: Arc<Socket>,
        config: Arc<ServerConfig>,
        plain_http: plain_http::PlainHttpPolicy,
    ) -> TlsTransport {
        TlsTransport { socket, state: State::New(config, plain_http) }
    }

    /// Detects the protocol by the first byte.
    fn detect_protocol(&mut self) -> io::Result<Handshake> {
        let State::New(config, plain_http) = &self.state else { return self.continue_handshake() };
        let mut scratch = ScratchBuffer::incoming();
        let count = match (&*self.socket).read(&mut scratch.bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Handshake::NotStarted),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            result => result?,
        };
        let bytes = &mut scratch.bytes[..count];
        if bytes[0] == HANDSHAKE_RECORD {
            let mut stream = EncryptedStream::new(config.clone())?;
            let progress = stream.process_handshake(bytes);
            self.state = State::Encrypted(Box::new(stream));
            return self.finish_step(progress);
        }
        let begins_a_line = bytes[0].is_ascii_alphabetic() || matches!(bytes[0], b'\r' | b'\n');
        if !begins_a_line {
            self.state = State::Failed;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent neither TLS nor HTTP"));
        }
        let mut session = HandshakeInfo::default();
        session.plain_http = match plain_http {
            plain_http::PlainHttpPolicy::Redirect => Some(PlainHttpPolicy::Redirect),
            plain_http::PlainHttpPolicy::Refuse => Some(PlainHttpPolicy::Refuse),
            plain_http::PlainHttpPolicy::Serve => None,
        };
        self.state = State::Plain(bytes.to_vec());
        Ok(Handshake::Done(session))
    }

    /// Continues the handshake with what the client has sent.
    fn continue_handshake(&mut self) -> io::Result<Handshake> {
        let State::Encrypted(stream) = &mut self.state else { return Ok(Handshake::Done(HandshakeInfo::default())) };
        let handshaking = stream.records.connection.is_handshaking();
        let mut progress = if handshaking { Progress::Handshake } else { Progress::Traffic };
        // Unsent ciphertext goes first; nothing is read before it has been sent.
        if handshaking && stream.records.outgoing.is_empty() {
            let mut scratch = ScratchBuffer::incoming();
            let count = match (&*self.socket).read(&mut scratch.bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Handshake::Read),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                result => result?,
            };
            progress = stream.process_handshake(&mut scratch.bytes[..count]);
        }
        self.finish_step(progress)
    }

    /// Sends the server's handshake records, and returns what the handshake waits for.
    fn finish_step(&mut self, progress: Progress) -> io::Result<Handshake> {
        let State::Encrypted(stream) = &mut self.state else { return Ok(Handshake::Done(HandshakeInfo::default())) };
        let flushed = stream.flush(&self.socket);
        if let Some(error) = &stream.records.failed {
            let error = to_io_error(error);
            self.state = State::Failed;
            return Err(error);
        }
        match flushed {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Handshake::Write),
            flushed => flushed?,
        }
        match progress {
            // The session tickets have been sent, too.
            Progress::Traffic => Ok(Handshake::Done(session::session(&stream.records.connection))),
            Progress::Handshake if stream.records.read_closed => Err(io::ErrorKind::UnexpectedEof.into()),
            Progress::Handshake => Ok(Handshake::Read),
        }
    }
}

impl Transport for TlsTransport {
    fn handshake(&mut self) -> io::Result<Handshake> {
        loop {
            let result = match self.state {
                State::New(..) => self.detect_protocol(),
                _ => self.continue_handshake(),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn has_buffered(&self) -> bool {
        match &self.state {
            State::Encrypted(stream) => stream.has_buffered(),
            State::Plain(read_ahead) => !read_ahead.is_empty(),
            State::New(..) | State::Failed => false,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Encrypted(stream) => stream.read(&self.socket, buffer),
            State::Plain(read_ahead) if !read_ahead.is_empty() => {
                let count = buffer.len().min(read_ahead.len());
                buffer[..count].copy_from_slice(&read_ahead[..count]);
                read_ahead.drain(..count);
                Ok(count)
            }
            // After a failure, the caller reads and discards input until the client has seen the alert.
            State::Plain(_) | State::New(..) | State::Failed => (&*self.socket).read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // A record holds the first two slices that are not empty.
        let mut filled = slices.iter().filter(|slice| !slice.is_empty()).map(|slice| &**slice);
        match &mut self.state {
            State::Encrypted(stream) => match filled.next() {
                Some(first) => stream.write(&self.socket, first, filled.next().unwrap_or_default()),
                None => Ok(0),
            },
            State::Plain(_) => self.socket.write_vectored(slices),
            State::New(..) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        match self.state {
            State::Plain(_) => self.socket.send_file(file, offset, count),
            _ => Ok(None),
        }
    }

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        if interest == Interest::Read && self.has_buffered() {
            return Ok(true);
        }
        self.socket.wait(interest, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        if let State::Encrypted(stream) = &mut self.state {
            stream.send_close_notify(&self.socket);
        }
        self.socket.shutdown(Shutdown::Write)
    }

    fn close(&mut self) {
        if let State::Encrypted(stream) = &mut self.state {
            stream.send_close_notify(&self.socket);
        }
    }

    fn abort(&mut self) -> io::Result<()> {
        if let State::Encrypted(stream) = &mut self.state {
            stream.suppress_close_notify();
        }
        self.socket.abort()
    }

    fn socket(&self) -> io::Result<Option<Socket>> {
        match &self.state {
            State::Plain(read_ahead) if read_ahead.is_empty() => self.socket.try_clone().map(Some),
            _ => Ok(None),
        }
    }
}
