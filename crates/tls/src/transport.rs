//! A connection over TLS, or in the clear on a port where TLS is spoken: never blocks, keeps no thread.
//!
//! ```text
//!   Fresh ──first byte is a TLS record's──► Handshake ──► Tls
//!     │                                         └───────► Failed (what still comes is thrown away)
//!     └──it begins a line of text─────────────────────────► Clear
//! ```
//!
//! # How it ends
//!
//! RFC 8446 §6.1 wants each side to say that it will send no more (close_notify), since whoever can cut a connection
//! could otherwise pass off a part as the whole. Here an end of the stream without that is an ordinary end, as RFC 9112
//! §9.8 asks of servers: all that is read here are requests, which say themselves where they end (Content-Length,
//! chunks), so that one cut short is noticed, while many clients just go. What they asked before is answered. Only
//! protocols that follow an upgrade have to mark the ends of their messages, too.
//!
//! In the other direction it matters, since an answer may last until the connection ends: close_notify is sent when an
//! end is meant, and never when an answer was cut.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use amboss_core::{Handshake, Misplaced, Session, Socket, Transport};
use rustls::ServerConfig;

use crate::plain_http::PlainHttpPolicy;
use crate::records::{Progress, Records, Scratch};
use crate::session;

/// How often the socket is read in one go without anything coming of it: a client may send records that are empty or
/// change keys, but others have their turn in between.
const FRUITLESS: usize = 4;
/// The first byte of a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

pub(crate) struct TlsTransport {
    socket: Arc<Socket>,
    state: State,
}

enum State {
    /// Nothing has come yet, and nothing is kept.
    Fresh(Arc<ServerConfig>, PlainHttpPolicy),
    Tls(Box<Tls>),
    /// In the clear, with what was read to find that out.
    Clear(Vec<u8>),
    /// The handshake failed.
    Failed,
}

struct Tls {
    records: Records,
    /// How much plaintext is being written whose ciphertext has not all left, and how much of it was told to have
    /// left. The caller comes back with the rest of it in front.
    plain: usize,
    reported: usize,
    /// The end was told of, or is to look like an accident.
    ended: bool,
}

impl TlsTransport {
    pub(crate) fn new(socket: Arc<Socket>, config: Arc<ServerConfig>, plain_http: PlainHttpPolicy) -> TlsTransport {
        TlsTransport { socket, state: State::Fresh(config, plain_http) }
    }

    /// Looks at the first bytes.
    fn begin(&mut self) -> io::Result<Handshake> {
        let State::Fresh(config, plain_http) = &self.state else { return self.shake() };
        let mut scratch = Scratch::incoming();
        let count = match (&*self.socket).read(&mut scratch.bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Handshake::Silent),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            result => result?,
        };
        let bytes = &mut scratch.bytes[..count];
        if bytes[0] == HANDSHAKE_RECORD {
            let mut records = Records::new(config.clone()).map_err(|error| session::explain(&error))?;
            let progress = records.take(bytes, &mut [], &mut 0);
            self.state = State::Tls(Box::new(Tls { records, plain: 0, reported: 0, ended: false }));
            return self.advance(progress);
        }
        let begins_a_line = bytes[0].is_ascii_alphabetic() || matches!(bytes[0], b'\r' | b'\n');
        if !begins_a_line {
            self.state = State::Failed;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what the client sent is neither TLS nor HTTP"));
        }
        let mut session = Session::default();
        session.misplaced = match plain_http {
            PlainHttpPolicy::Redirect => Some(Misplaced::Redirect),
            PlainHttpPolicy::Refuse => Some(Misplaced::Refuse),
            PlainHttpPolicy::Serve => None,
        };
        self.state = State::Clear(bytes.to_vec());
        Ok(Handshake::Done(session))
    }

    /// Goes on with what the socket has.
    fn shake(&mut self) -> io::Result<Handshake> {
        let State::Tls(tls) = &mut self.state else { return Ok(Handshake::Done(Session::default())) };
        let handshaking = tls.records.connection.is_handshaking();
        let mut progress = if handshaking { Progress::Handshake } else { Progress::Traffic };
        // What has to leave first had to wait.
        if handshaking && tls.records.outgoing.is_empty() {
            let mut scratch = Scratch::incoming();
            let count = match (&*self.socket).read(&mut scratch.bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Handshake::Read),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                result => result?,
            };
            progress = tls.records.take(&mut scratch.bytes[..count], &mut [], &mut 0);
        }
        self.advance(progress)
    }

    /// Sends what the records led to, and says what is waited for.
    fn advance(&mut self, progress: Progress) -> io::Result<Handshake> {
        let State::Tls(tls) = &mut self.state else { return Ok(Handshake::Done(Session::default())) };
        let flushed = tls.flush(&self.socket);
        if let Some(error) = &tls.records.failed {
            let error = session::explain(error);
            self.state = State::Failed;
            return Err(error);
        }
        match flushed {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Handshake::Write),
            flushed => flushed?,
        }
        match progress {
            // The tickets for resuming have left, too.
            Progress::Traffic => Ok(Handshake::Done(session::session(&tls.records.connection))),
            Progress::Handshake if tls.records.closed => Err(io::ErrorKind::UnexpectedEof.into()),
            Progress::Handshake => Ok(Handshake::Read),
        }
    }
}

impl Tls {
    /// Sends ciphertext that waits.
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        let records = &mut self.records;
        while records.left < records.outgoing.len() {
            match { socket }.write(&records.outgoing[records.left..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => records.left += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        records.left = 0;
        records.outgoing = Vec::new();
        Ok(())
    }

    fn read(&mut self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = &mut self.records.ahead;
        if !ahead.is_empty() {
            let count = ahead.read(buffer)?;
            if ahead.is_empty() {
                *ahead = Default::default();
            }
            return Ok(count);
        }
        for _ in 0..FRUITLESS {
            if let Some(error) = &self.records.failed {
                return Err(session::explain(error));
            }
            if self.records.closed {
                return Ok(0);
            }
            let mut scratch = Scratch::incoming();
            let count = { socket }.read(&mut scratch.bytes)?;
            if count == 0 {
                self.records.closed = true;
                return Ok(0);
            }
            let mut filled = 0;
            self.records.take(&mut scratch.bytes[..count], buffer, &mut filled);
            if self.records.failed.is_some() {
                // The alert, as far as it gets.
                self.ended = true;
                let _ = self.flush(socket);
            }
            if filled > 0 {
                return Ok(filled);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, socket: &Socket, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let offered = first.len() + second.len();
        if self.records.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.plain == 0 {
            // Something else may still wait, as a ticket.
            self.flush(socket)?;
            let mut scratch = Scratch::outgoing();
            let encrypted = self.records.encrypt(first, second, &mut scratch.bytes);
            let (plain, cipher) = encrypted.map_err(|error| session::explain(&error))?;
            let out = &scratch.bytes[..cipher];
            let sent = loop {
                match { socket }.write(out) {
                    Ok(0) if cipher > 0 => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => break count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                    Err(error) => return Err(error),
                }
            };
            if sent == cipher {
                return Ok(plain);
            }
            self.records.outgoing = out[sent..].to_vec();
            (self.plain, self.reported) = (plain, 0);
            return self.report(offered);
        }
        match self.flush(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => result?,
        }
        self.report(offered)
    }

    /// Tells how much of the plaintext has left, as far as it was not told: what the records add is taken to have left
    /// first, so that the last byte is told of when everything has left.
    fn report(&mut self, offered: usize) -> io::Result<usize> {
        let waiting = self.records.outgoing.len() - self.records.left;
        let left = self.plain.saturating_sub(waiting);
        // An alert may have joined what waits.
        let count = left.saturating_sub(self.reported).min(offered);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.reported += count;
        if self.reported == self.plain {
            (self.plain, self.reported) = (0, 0);
        }
        Ok(count)
    }

    /// Says that nothing more will come, as far as the socket takes it.
    fn say_goodbye(&mut self, socket: &Socket) {
        if !self.ended && !self.records.connection.is_handshaking() && self.records.close_notify().is_ok() {
            let _ = self.flush(socket);
        }
        self.ended = true;
    }
}

impl Transport for TlsTransport {
    fn handshake(&mut self) -> io::Result<Handshake> {
        loop {
            let result = match self.state {
                State::Fresh(..) => self.begin(),
                _ => self.shake(),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn has_buffered(&self) -> bool {
        match &self.state {
            State::Tls(tls) => {
                let records = &tls.records;
                !records.ahead.is_empty() || records.closed || records.failed.is_some()
            }
            State::Clear(ahead) => !ahead.is_empty(),
            State::Fresh(..) | State::Failed => false,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Tls(tls) => tls.read(&self.socket, buffer),
            State::Clear(ahead) if !ahead.is_empty() => {
                let count = buffer.len().min(ahead.len());
                buffer[..count].copy_from_slice(&ahead[..count]);
                ahead.drain(..count);
                Ok(count)
            }
            // After a failure: what comes is thrown away by whoever waits for the client to see the alert.
            State::Clear(_) | State::Fresh(..) | State::Failed => (&*self.socket).read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_two(bytes, &[])
    }

    fn write_two(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Tls(_) if first.is_empty() && second.is_empty() => Ok(0),
            State::Tls(tls) => tls.write(&self.socket, first, second),
            State::Clear(_) => self.socket.write_two(first, second),
            State::Fresh(..) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        match self.state {
            State::Clear(_) => self.socket.send_file(file, offset, count),
            _ => Ok(None),
        }
    }

    fn wait(&mut self, writable: bool, timeout: Duration) -> io::Result<bool> {
        if !writable && self.has_buffered() {
            return Ok(true);
        }
        self.socket.wait(writable, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        if let State::Tls(tls) = &mut self.state {
            tls.say_goodbye(&self.socket);
        }
        self.socket.shutdown(Shutdown::Write)
    }

    fn close(&mut self) {
        if let State::Tls(tls) = &mut self.state {
            tls.say_goodbye(&self.socket);
        }
    }

    fn abort(&mut self) -> io::Result<()> {
        if let State::Tls(tls) = &mut self.state {
            tls.ended = true;
        }
        self.socket.abort()
    }

    fn socket(&self) -> io::Result<Option<Socket>> {
        match &self.state {
            State::Clear(ahead) if ahead.is_empty() => self.socket.try_clone().map(Some),
            _ => Ok(None),
        }
    }
}
