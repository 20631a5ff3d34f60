//! The client's side of the conversation: what it sends, piece by piece, and what it receives.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::fuzzing::dice::Dice;
use crate::server;

/// What the client does when it has said everything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Close,
    Reset,
    Silence,
}

pub(super) struct Tape {
    pub(super) wire: Vec<u8>,
    at: usize,
    pub(super) written: Vec<u8>,
    ending: Ending,
    piecemeal: Option<Dice>,
    /// The client takes no more than so many bytes.
    deaf_after: Option<usize>,
    /// "Not now" was said last, so it will not be said again.
    paused: bool,
    shut: bool,
    /// What the server did that no transport allows.
    pub(super) violation: Option<&'static str>,
}

impl Tape {
    pub(super) fn new(wire: &[u8], ending: Ending, piecemeal: Option<Dice>, deaf_after: Option<usize>) -> Tape {
        Tape {
            wire: wire.to_vec(),
            at: 0,
            written: Vec::new(),
            ending,
            piecemeal,
            deaf_after,
            paused: false,
            shut: false,
            violation: None,
        }
    }

    /// Nothing will ever come again, and nobody says so.
    pub(super) fn is_silent(&self) -> bool {
        self.ending == Ending::Silence && self.at == self.wire.len()
    }

    /// How much of `there` bytes goes through now.
    fn piece(&mut self, there: usize) -> io::Result<usize> {
        let Some(dice) = &mut self.piecemeal else { return Ok(there) };
        if !self.paused && dice.coin() {
            self.paused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.paused = false;
        if dice.below(16) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = if dice.coin() { 3 } else { 100 };
        Ok(there.min(1 + dice.below(most)))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            self.violation = Some("a read without room looks like the end of the stream");
        }
        let there = buffer.len().min(self.wire.len() - self.at);
        if there == 0 {
            return match self.ending {
                Ending::Close => Ok(0),
                Ending::Reset => Err(io::ErrorKind::ConnectionReset.into()),
                Ending::Silence => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = self.piece(there)?;
        buffer[..count].copy_from_slice(&self.wire[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.shut {
            self.violation = Some("something is written behind the end");
        }
        if bytes.is_empty() {
            self.violation = Some("an empty write looks like a full peer");
        }
        if self.deaf_after.is_some_and(|after| self.written.len() >= after) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.piece(bytes.len())?;
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

pub(super) struct Transport(pub(super) Arc<Mutex<Tape>>);

impl Transport {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl server::Transport for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tape().read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tape().write(bytes)
    }

    fn wait(&mut self, writable: bool, _: Duration) -> io::Result<bool> {
        // Time runs out at once where it would run out at all.
        Ok(writable || !self.tape().is_silent())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.tape().shut = true;
        Ok(())
    }
}
