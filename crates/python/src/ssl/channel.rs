//! The state of one TLS connection, which the transport in the event loop and the engine share.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use amboss::{HandshakeInfo, Socket, TransportWaker};
use pyo3::prelude::*;

use crate::runtime::sync::lock;

/// How many encrypted bytes are read from a socket at once: a TLS record with its header, several times.
const READ: usize = 64 * 1024;

thread_local! {
    /// Where bytes are read to before they are appended to what has been received. A new buffer would have to be cleared
    /// for each read.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// The maximum number of bytes that wait for the engine or the application in one direction, before the socket is read no
/// further.
const MAX_BUFFERED: usize = 256 * 1024;

/// A TLS connection.
pub(super) struct Channel {
    pub(super) socket: Arc<Socket>,
    state: Mutex<ChannelState>,
    /// Notified when the engine has processed the channel.
    pub(super) processed: Condvar,
}

#[derive(Default)]
pub(super) struct ChannelState {
    /// Encrypted bytes from the client, for the engine.
    pub(super) received: Vec<u8>,
    /// Whether the client has closed its side of the socket.
    pub(super) has_ended: bool,
    /// Decrypted bytes, for the server.
    pub(super) decrypted: VecDeque<u8>,
    /// Whether the client sends nothing more.
    pub(super) is_read_closed: bool,
    /// Bytes of the server, for the engine.
    pub(super) to_encrypt: Vec<u8>,
    /// Encrypted bytes that have not been sent.
    pub(super) outgoing: Vec<u8>,
    /// Whether the server wants the end of its data announced (close_notify), and whether the sending side of the socket is
    /// shut down after that.
    pub(super) closes: bool,
    pub(super) shuts_down: bool,
    /// Whether the connection is reset, so that nothing more is sent.
    pub(super) is_aborted: bool,
    /// The result of the handshake, until the transport takes it.
    pub(super) handshake: Option<Result<HandshakeInfo, String>>,
    /// Why the connection has failed.
    pub(super) failure: Option<String>,
    /// Whether the engine has the channel in its queue, or processes it.
    pub(super) is_queued: bool,
    /// Whether there is more for the engine than what it is processing.
    pub(super) has_more: bool,
    /// The number of threads that wait until the engine has processed the channel.
    pub(super) waiting: usize,
    pub(super) waker: Option<TransportWaker>,
    /// The connection's `amboss._tls.Session`, which only the engine uses.
    pub(super) session: Option<Py<PyAny>>,
}

impl Channel {
    pub(super) fn new(socket: Arc<Socket>) -> Channel {
        Channel { socket, state: Mutex::default(), processed: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ChannelState> {
        lock(&self.state)
    }
}

impl ChannelState {
    /// Reads what has arrived at the socket. Returns whether there is something new for the engine.
    ///
    /// # Errors
    /// Those of the socket, but neither `WouldBlock` nor `Interrupted`.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<bool> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut is_new = false;
            while !self.has_ended && !self.is_full() {
                match (&mut &*socket).read(buffer) {
                    Ok(0) => {
                        self.has_ended = true;
                        is_new = true;
                    }
                    Ok(count) => {
                        self.received.extend_from_slice(&buffer[..count]);
                        is_new = true;
                        if count < buffer.len() {
                            // The poller reports what follows.
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(is_new)
        })
    }

    /// Whether so much waits for the engine or the application that the socket is not read.
    pub(super) fn is_full(&self) -> bool {
        self.received.len() >= MAX_BUFFERED || self.decrypted.len() >= MAX_BUFFERED
    }

    /// Sends encrypted bytes as far as the socket takes them. Returns whether all have been sent.
    ///
    /// # Errors
    /// Those of the socket, but neither `WouldBlock` nor `Interrupted`.
    pub(super) fn send(&mut self, socket: &Socket) -> io::Result<bool> {
        let mut sent = 0;
        let result = loop {
            if sent == self.outgoing.len() || self.is_aborted {
                break Ok(true);
            }
            match (&mut &*socket).write(&self.outgoing[sent..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        self.outgoing.drain(..sent);
        result
    }
}
