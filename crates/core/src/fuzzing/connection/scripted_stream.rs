//! The client of the conversation, as a stream in memory: it sends its bytes in pieces and records the bytes that it
//! receives.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::super::prng::Prng;
use crate::server::{self, Interest};

/// The action of the client after it has sent all of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It closes the connection.
    Close,
    /// It resets the connection.
    Reset,
    /// It keeps the connection open and sends nothing.
    Silence,
}

/// The state of the client.
pub(super) struct ScriptedStream {
    /// The bytes that the client sends.
    pub(super) wire: Vec<u8>,
    /// The number of bytes that the client has sent.
    at: usize,
    /// The bytes that the client has received.
    pub(super) written: Vec<u8>,
    ending: Ending,
    /// The generator of the positions where reads and writes are cut; `None` if they are not.
    piecemeal: Option<Prng>,
    /// The number of bytes after which the client stops reading.
    stops_reading_after: Option<usize>,
    /// Whether the last call returned `WouldBlock`; the next one does not.
    paused: bool,
    /// Whether the server has ended its side.
    shut: bool,
    /// A call of the server that no transport allows.
    pub(super) violation: Option<&'static str>,
}

impl ScriptedStream {
    pub(super) fn new(
        wire: &[u8],
        ending: Ending,
        piecemeal: Option<Prng>,
        stops_reading_after: Option<usize>,
    ) -> ScriptedStream {
        ScriptedStream {
            wire: wire.to_vec(),
            at: 0,
            written: Vec::new(),
            ending,
            piecemeal,
            stops_reading_after,
            paused: false,
            shut: false,
            violation: None,
        }
    }

    /// Whether the client has sent everything and keeps the connection open.
    pub(super) fn is_silent(&self) -> bool {
        self.ending == Ending::Silence && self.at == self.wire.len()
    }

    /// How many of `available` bytes this call transfers.
    fn piece(&mut self, available: usize) -> io::Result<usize> {
        let Some(prng) = &mut self.piecemeal else { return Ok(available) };
        if !self.paused && prng.coin() {
            self.paused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.paused = false;
        if prng.below(16) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = if prng.coin() { 3 } else { 100 };
        Ok(available.min(1 + prng.below(most)))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            self.violation = Some("a read into an empty buffer looks like the end of the stream");
        }
        let available = buffer.len().min(self.wire.len() - self.at);
        if available == 0 {
            return match self.ending {
                Ending::Close => Ok(0),
                Ending::Reset => Err(io::ErrorKind::ConnectionReset.into()),
                Ending::Silence => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = self.piece(available)?;
        buffer[..count].copy_from_slice(&self.wire[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shut {
            self.violation = Some("bytes are written after the end");
        }
        if bytes.is_empty() {
            self.violation = Some("an empty write looks like a full socket buffer");
        }
        if self.stops_reading_after.is_some_and(|after| self.written.len() >= after) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.piece(bytes.len())?;
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// The transport that the server uses.
pub(super) struct Transport(pub(super) Arc<Mutex<ScriptedStream>>);

impl Transport {
    fn stream(&self) -> MutexGuard<'_, ScriptedStream> {
        self.0.lock().expect("no thread panics while it holds the lock")
    }
}

impl server::Transport for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream().write(bytes)
    }

    fn wait(&mut self, interest: Interest, _: Duration) -> io::Result<bool> {
        // A wait that would time out returns at once.
        Ok(interest == Interest::Write || !self.stream().is_silent())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream().shut = true;
        Ok(())
    }
}
