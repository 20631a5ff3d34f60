//! Layers between sockets and HTTP: one that masks every byte after a handshake, and one that reports its calls.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Client;
use amboss_core::{Handshake, HandshakeInfo, Interest, PlainHttpPolicy, Socket, Transport, TransportLayer};

/// What a client of a [`MaskingLayer`] has to send first, in the clear.
pub const HANDSHAKE: &[u8] = b"knock";
const MASK: u8 = 0x5a;
/// What a [`MaskingLayer`] sends before it closes a connection.
pub const CLOSING_MESSAGE: &[u8] = b"goodbye";

/// A layer that masks all bytes after its handshake; `misplaced` applies to clients that send `GET` instead of it.
#[derive(Default)]
pub struct MaskingLayer {
    pub misplaced: Option<PlainHttpPolicy>,
}

struct MaskingTransport {
    socket: Arc<Socket>,
    misplaced: Option<PlainHttpPolicy>,
    received: Vec<u8>,
    mask: u8,
    /// Bytes that are unmasked and not yet read.
    ahead: Vec<u8>,
}

impl TransportLayer for MaskingLayer {
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport> {
        Box::new(MaskingTransport {
            socket,
            misplaced: self.misplaced,
            received: Vec::new(),
            mask: MASK,
            ahead: Vec::new(),
        })
    }

    fn scheme(&self) -> &'static str {
        "https"
    }
}

impl Transport for MaskingTransport {
    fn handshake(&mut self) -> io::Result<Handshake> {
        while self.received.len() < HANDSHAKE.len() {
            let mut byte = [0];
            match (&*self.socket).read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.received.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(if self.received.is_empty() { Handshake::NotStarted } else { Handshake::Read });
                }
                Err(error) => return Err(error),
            }
            let mut session = HandshakeInfo::default();
            if self.received == b"GET" && self.misplaced.is_some() {
                (self.mask, self.ahead) = (0, std::mem::take(&mut self.received));
                session.plain_http = self.misplaced;
                return Ok(Handshake::Done(session));
            }
            let clear = self.misplaced.is_some() && b"GET".starts_with(&self.received);
            if !clear && !HANDSHAKE.starts_with(&self.received) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a handshake"));
            }
        }
        let mut session = HandshakeInfo::default();
        session.scheme = "https";
        session.variables = vec![("SSL_PROTOCOL", b"MASK".to_vec())];
        Ok(Handshake::Done(session))
    }

    fn has_buffered(&self) -> bool {
        !self.ahead.is_empty()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            let mut record = [0; 4096];
            let count = (&*self.socket).read(&mut record)?;
            self.ahead = record[..count].iter().map(|byte| byte ^ self.mask).collect();
        }
        // Never more than 100 bytes at once, so that the layer keeps a rest.
        let count = buffer.len().min(self.ahead.len()).min(100);
        buffer[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.socket).write(&bytes.iter().map(|byte| byte ^ self.mask).collect::<Vec<u8>>())
    }

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        self.socket.clone().wait(interest, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    fn close(&mut self) {
        if self.received == HANDSHAKE {
            let _ = self.write(CLOSING_MESSAGE);
        }
    }
}

/// The client's side of the layer.
pub struct UnmaskingStream(pub TcpStream);

impl Read for UnmaskingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= MASK);
        Ok(count)
    }
}

impl Write for UnmaskingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes.iter().map(|byte| byte ^ MASK).collect::<Vec<u8>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects to a server with a [`MaskingLayer`], and completes the handshake.
pub fn connect_masked(address: SocketAddr) -> Client<UnmaskingStream> {
    let mut client = Client::connect(address);
    client.send_bytewise(HANDSHAKE);
    Client::on(UnmaskingStream(client.stream))
}

/// A layer that passes everything on and reports which of its functions is called.
#[derive(Clone)]
pub struct ProbeLayer(Arc<dyn Fn(&'static str) + Send + Sync>);

impl ProbeLayer {
    pub fn new(report: impl Fn(&'static str) + Send + Sync + 'static) -> ProbeLayer {
        ProbeLayer(Arc::new(report))
    }
}

struct ProbeTransport(ProbeLayer, Arc<Socket>);

impl ProbeTransport {
    fn report(&self, place: &'static str) {
        self.0 .0(place);
    }
}

impl TransportLayer for ProbeLayer {
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport> {
        self.0("wrap");
        Box::new(ProbeTransport(self.clone(), socket))
    }

    fn scheme(&self) -> &'static str {
        "http"
    }
}

impl Transport for ProbeTransport {
    fn handshake(&mut self) -> io::Result<Handshake> {
        self.report("handshake");
        Ok(Handshake::Done(HandshakeInfo::default()))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.report("read");
        (&*self.1).read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.report("write");
        (&*self.1).write(bytes)
    }

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        self.1.clone().wait(interest, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.report("shutdown");
        self.1.shutdown(std::net::Shutdown::Write)
    }

    fn close(&mut self) {
        self.report("close");
    }
}
