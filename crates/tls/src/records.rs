//! TLS records in memory: ciphertext in, plaintext out, and the other way round. No sockets here.
//!
//! Ciphertext comes in a buffer that is lent: each thread has one for each direction ([`Scratch`]). A connection keeps
//! only what can't be done yet: part of a record, plaintext nobody has asked for, ciphertext the socket did not take.
//! An idle one keeps nothing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::LocalKey;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, PeerMisbehaved, ServerConfig};

/// What is read from a socket at once: two records of the largest size, so that uploads take few system calls.
pub(crate) const READ: usize = 2 * RECORD + 1024;
/// A record's plaintext at its largest (RFC 8446 §5.1).
pub(crate) const RECORD: usize = 16 * 1024;
/// What a record adds to its plaintext, at most.
const OVERHEAD: usize = 64;
/// Plaintext that is encrypted at once: four records in one system call. More saves little and has to be kept for each
/// slow reader.
pub(crate) const PIECE: usize = 4 * RECORD;
/// Ciphertext that may wait for its rest: the longest handshake message that is put up with, a chain of client
/// certificates.
const WAITING: usize = 64 * 1024;
/// How often in a row records may come that carry nothing: more than any client has reason for, and an end to those
/// who want to keep a server busy with them.
const BARREN: u32 = 32;

/// How far the records that are there lead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The handshake needs more from the client.
    Handshake,
    /// Data may pass in both directions.
    Traffic,
}

pub(crate) struct Records {
    pub(crate) connection: UnbufferedServerConnection,
    /// Part of a record, or of a handshake message in several.
    incoming: Vec<u8>,
    /// Plaintext nobody has asked for yet.
    pub(crate) ahead: VecDeque<u8>,
    /// Ciphertext that is to leave: `outgoing[left..]`.
    pub(crate) outgoing: Vec<u8>,
    pub(crate) left: usize,
    /// The client has said that nothing more will come.
    pub(crate) closed: bool,
    /// Why nothing can be read any more.
    pub(crate) failed: Option<Error>,
    /// How often in a row records came that carried nothing.
    barren: u32,
}

impl Records {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Records, Error> {
        Ok(Records {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            ahead: VecDeque::new(),
            outgoing: Vec::new(),
            left: 0,
            closed: false,
            failed: None,
            barren: 0,
        })
    }

    /// Takes `bytes` from the client, at least one. Plaintext goes into `buffer`, what does not fit ahead of being asked for; how
    /// much of `buffer` was filled is added to `filled`. What is to be sent in return waits in `outgoing`.
    ///
    /// A failure leaves its alert in `outgoing`; plaintext that came before it is there.
    pub(crate) fn take(&mut self, bytes: &mut [u8], buffer: &mut [u8], filled: &mut usize) -> Progress {
        let (before, mut used) = (*filled, 0);
        let progress = if self.incoming.is_empty() {
            let progress = self.digest(bytes, &mut used, buffer, filled);
            self.incoming.extend_from_slice(&bytes[used..]);
            progress
        } else {
            let mut joined = std::mem::take(&mut self.incoming);
            joined.extend_from_slice(bytes);
            let progress = self.digest(&mut joined, &mut used, buffer, filled);
            if used < joined.len() {
                joined.drain(..used);
                self.incoming = joined;
            }
            progress
        };
        if *filled > before || !self.ahead.is_empty() {
            self.barren = 0;
        } else if used > 0 && progress == Progress::Traffic {
            self.barren += 1;
            if self.barren > BARREN && self.failed.is_none() {
                self.failed = Some(PeerMisbehaved::TooManyEmptyFragments.into());
            }
        }
        progress
    }

    /// Does all that can be done with `bytes`; says how many of them are done with.
    fn digest(&mut self, bytes: &mut [u8], used: &mut usize, buffer: &mut [u8], filled: &mut usize) -> Progress {
        let progress = loop {
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut bytes[*used..]);
            let mut done = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        let fits = record.payload.len().min(buffer.len() - *filled);
                        // In order: nothing overtakes what is ahead.
                        let fits = if self.ahead.is_empty() { fits } else { 0 };
                        let (now, later) = record.payload.split_at(fits);
                        buffer[*filled..*filled + fits].copy_from_slice(now);
                        *filled += fits;
                        self.ahead.extend(later);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let end = self.outgoing.len();
                    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
                        self.outgoing.resize(end + needed.required_size, 0);
                        // As large as was asked for.
                        let _ = data.encode(&mut self.outgoing[end..]);
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => done = Some(Progress::Traffic),
                Ok(ConnectionState::Closed) => done = Some(Progress::Traffic),
                Ok(ConnectionState::BlockedHandshake) => done = Some(Progress::Handshake),
                // Early data is off, and other states don't exist.
                Ok(_) => done = Some(Progress::Handshake),
                Err(error) => self.failed = Some(error),
            }
            *used += discard;
            // After a failure, on for the alert only: what is in `bytes` must not be looked at again.
            if self.failed.is_some() && !self.connection.wants_write() {
                done = Some(Progress::Handshake);
            }
            if let Some(progress) = done {
                break progress;
            }
        };
        if self.closed || self.failed.is_some() {
            *used = bytes.len();
        } else if bytes.len() - *used > WAITING {
            self.failed = Some(Error::PeerSentOversizedRecord);
        }
        progress
    }

    /// Encrypts the beginning of `first` and then of `second`, up to [`PIECE`], into `out`: how much plaintext that was,
    /// and how much ciphertext it became.
    pub(crate) fn encrypt(&mut self, first: &[u8], second: &[u8], out: &mut Vec<u8>) -> Result<(usize, usize), Error> {
        let first = &first[..first.len().min(PIECE)];
        let second = &second[..second.len().min(PIECE - first.len())];
        let mut length = 0;
        for piece in [first, second] {
            if !piece.is_empty() {
                length += self.write(out, length, |traffic, out| traffic.encrypt(piece, out))?;
            }
        }
        Ok((first.len() + second.len(), length))
    }

    /// Says behind what is to leave that nothing more will come.
    pub(crate) fn close_notify(&mut self) -> Result<(), Error> {
        let mut out = std::mem::take(&mut self.outgoing);
        let end = out.len();
        let length = self.write(&mut out, end, |traffic, out| traffic.queue_close_notify(out));
        out.truncate(end + *length.as_ref().unwrap_or(&0));
        self.outgoing = out;
        length.map(drop)
    }

    /// Lets rustls write into `out` from `start` on, which is made as long as it takes.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        mut how: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, Error> {
        let mut end = start;
        loop {
            // With all that was received and is not done with, which is part of a record: nothing comes of it now.
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut self.incoming);
            let mut result = Ok(None);
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    result = how(&mut traffic, &mut out[end..]).map(Some);
                }
                // What rustls itself has to say comes first.
                ConnectionState::EncodeTlsData(mut data) => match data.encode(&mut out[end..]) {
                    Ok(count) => end += count,
                    Err(EncodeError::InsufficientSize(needed)) => {
                        out.resize(end + needed.required_size, 0);
                        end += data.encode(&mut out[end..]).unwrap_or(0);
                    }
                    Err(EncodeError::AlreadyEncoded) => {}
                },
                ConnectionState::TransmitTlsData(data) => data.done(),
                // Both sides have said that nothing more will come.
                ConnectionState::Closed => return Ok(end - start),
                _ => return Err(Error::HandshakeNotComplete),
            }
            self.incoming.drain(..discard);
            match result {
                Ok(None) => {}
                Ok(Some(count)) => return Ok(end + count - start),
                Err(EncryptError::InsufficientSize(needed)) => out.resize(end + needed.required_size, 0),
                Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
            }
        }
    }
}

/// A buffer lent by its thread.
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    home: &'static LocalKey<Cell<Vec<u8>>>,
    length: usize,
}

thread_local! {
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// For what comes from a socket: [`READ`] bytes.
    pub(crate) fn incoming() -> Scratch {
        Scratch::lend(&INCOMING, READ)
    }

    /// For what goes to one: room for a [`PIECE`] and what its records add.
    pub(crate) fn outgoing() -> Scratch {
        Scratch::lend(&OUTGOING, PIECE + (PIECE / RECORD + 1) * OVERHEAD)
    }

    fn lend(home: &'static LocalKey<Cell<Vec<u8>>>, length: usize) -> Scratch {
        let mut bytes = home.take();
        bytes.resize(length, 0);
        Scratch { bytes, home, length }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.bytes.truncate(self.length);
        let bytes = std::mem::take(&mut self.bytes);
        // When the thread ends, the buffer does, too.
        let _ = self.home.try_with(|home| home.set(bytes));
    }
}
