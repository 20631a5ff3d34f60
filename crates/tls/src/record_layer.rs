//! TLS records in memory: ciphertext in and plaintext out, and the reverse. This module knows no sockets.
//!
//! Ciphertext is read into a buffer that the thread lends ([`ScratchBuffer`], one for each direction). A connection
//! keeps only what cannot be processed yet: part of a record, plaintext that was not asked for, and ciphertext that the
//! socket did not accept. An idle connection keeps nothing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::LocalKey;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, PeerMisbehaved, ServerConfig};

/// The number of bytes to read from a socket at once: two records of the largest size, so that uploads take few system
/// calls.
const READ_SIZE: usize = 2 * MAX_RECORD + 1024;
/// The maximum plaintext of a record (RFC 8446 §5.1).
const MAX_RECORD: usize = 16 * 1024;
/// The maximum number of bytes that a record adds to its plaintext.
const MAX_RECORD_OVERHEAD: usize = 64;
/// The maximum plaintext to encrypt at once: four records in one system call. A larger value saves little, and each
/// slow reader would occupy that much memory.
const WRITE_SIZE: usize = 4 * MAX_RECORD;
/// The maximum ciphertext to keep until the rest arrives. It limits a handshake message; the longest is a chain of
/// client certificates.
const MAX_INCOMPLETE: usize = 64 * 1024;
/// The maximum number of records without content in a row. No client has a reason to send as many; the limit ends
/// connections that only keep the server busy.
const MAX_EMPTY_RECORDS: u32 = 32;

/// The state of a connection after its records were processed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The handshake needs more input from the client.
    Handshake,
    /// Application data can be sent in both directions.
    Traffic,
}

/// The TLS state of a connection, without its socket.
pub(crate) struct RecordLayer {
    pub(crate) connection: UnbufferedServerConnection,
    /// Part of a record, or of a handshake message that spans several records.
    incoming: Vec<u8>,
    /// Plaintext that was not asked for yet.
    pub(crate) read_ahead: VecDeque<u8>,
    /// Ciphertext; `outgoing[sent..]` is still to be sent.
    pub(crate) outgoing: Vec<u8>,
    pub(crate) sent: usize,
    /// Whether the client announced that it sends no more (close_notify).
    pub(crate) read_closed: bool,
    /// Why nothing more can be read.
    pub(crate) failed: Option<Error>,
    /// The number of records without content in a row.
    empty_records: u32,
}

impl RecordLayer {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<RecordLayer, Error> {
        Ok(RecordLayer {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            read_ahead: VecDeque::new(),
            outgoing: Vec::new(),
            sent: 0,
            read_closed: false,
            failed: None,
            empty_records: 0,
        })
    }

    /// Processes ciphertext from the client, at least one byte. Writes plaintext to `buffer[filled..]`, and what does
    /// not fit to `read_ahead`. Appends to `outgoing` what has to be sent in response.
    ///
    /// On failure, the alert is in `outgoing`, and the plaintext of earlier records has been delivered.
    pub(crate) fn decrypt(&mut self, bytes: &mut [u8], buffer: &mut [u8], filled: &mut usize) -> Progress {
        let (filled_before, mut used) = (*filled, 0);
        let progress = if self.incoming.is_empty() {
            let progress = self.process(bytes, &mut used, buffer, filled);
            self.incoming.extend_from_slice(&bytes[used..]);
            progress
        } else {
            let mut joined = std::mem::take(&mut self.incoming);
            joined.extend_from_slice(bytes);
            let progress = self.process(&mut joined, &mut used, buffer, filled);
            if used < joined.len() {
                joined.drain(..used);
                self.incoming = joined;
            }
            progress
        };
        if *filled > filled_before || !self.read_ahead.is_empty() {
            self.empty_records = 0;
        } else if used > 0 && progress == Progress::Traffic {
            self.empty_records += 1;
            if self.empty_records > MAX_EMPTY_RECORDS && self.failed.is_none() {
                self.failed = Some(PeerMisbehaved::TooManyEmptyFragments.into());
            }
        }
        progress
    }

    /// Processes all complete records in `bytes`, and sets `used` to their length.
    fn process(&mut self, bytes: &mut [u8], used: &mut usize, buffer: &mut [u8], filled: &mut usize) -> Progress {
        let progress = loop {
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut bytes[*used..]);
            let mut done = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        // Plaintext that is read ahead comes first.
                        let available = if self.read_ahead.is_empty() { buffer.len() - *filled } else { 0 };
                        let (now, later) = record.payload.split_at(record.payload.len().min(available));
                        buffer[*filled..*filled + now.len()].copy_from_slice(now);
                        *filled += now.len();
                        self.read_ahead.extend(later);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let end = self.outgoing.len();
                    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
                        self.outgoing.resize(end + needed.required_size, 0);
                        // Cannot fail: the buffer has the size that was asked for.
                        let _ = data.encode(&mut self.outgoing[end..]);
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.read_closed = true,
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => done = Some(Progress::Traffic),
                // BlockedHandshake. Early data is disabled, and no other state exists.
                Ok(_) => done = Some(Progress::Handshake),
                Err(error) => self.failed = Some(error),
            }
            *used += discard;
            // After a failure, the loop continues only to encode the alert; `bytes` must not be processed again.
            if self.failed.is_some() && !self.connection.wants_write() {
                done = Some(Progress::Handshake);
            }
            if let Some(progress) = done {
                break progress;
            }
        };
        if self.read_closed || self.failed.is_some() {
            *used = bytes.len();
        } else if bytes.len() - *used > MAX_INCOMPLETE {
            self.failed = Some(Error::PeerSentOversizedRecord);
        }
        progress
    }

    /// Encrypts the first [`WRITE_SIZE`] bytes of `first` followed by `second` into `out`. Returns the length of the
    /// plaintext and that of its ciphertext.
    pub(crate) fn encrypt(&mut self, first: &[u8], second: &[u8], out: &mut Vec<u8>) -> Result<(usize, usize), Error> {
        let first = &first[..first.len().min(WRITE_SIZE)];
        let second = &second[..second.len().min(WRITE_SIZE - first.len())];
        let mut length = 0;
        for piece in [first, second] {
            if !piece.is_empty() {
                length += self.write(out, length, |traffic, out| traffic.encrypt(piece, out))?;
            }
        }
        Ok((first.len() + second.len(), length))
    }

    /// Appends a close_notify alert to `outgoing`.
    pub(crate) fn queue_close_notify(&mut self) -> Result<(), Error> {
        let mut out = std::mem::take(&mut self.outgoing);
        let end = out.len();
        let length = self.write(&mut out, end, |traffic, out| traffic.queue_close_notify(out));
        out.truncate(end + *length.as_ref().unwrap_or(&0));
        self.outgoing = out;
        length.map(drop)
    }

    /// Lets rustls write to `out[start..]`, which grows as necessary. Returns the number of bytes written.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        mut operation: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, Error> {
        let mut end = start;
        loop {
            // rustls needs the unprocessed input again. It is part of a record, so it yields nothing yet.
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut self.incoming);
            let mut result = Ok(None);
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    result = operation(&mut traffic, &mut out[end..]).map(Some);
                }
                // rustls has records of its own to send first.
                ConnectionState::EncodeTlsData(mut data) => match data.encode(&mut out[end..]) {
                    Ok(count) => end += count,
                    Err(EncodeError::InsufficientSize(needed)) => {
                        out.resize(end + needed.required_size, 0);
                        end += data.encode(&mut out[end..]).unwrap_or(0);
                    }
                    Err(EncodeError::AlreadyEncoded) => {}
                },
                ConnectionState::TransmitTlsData(data) => data.done(),
                // Both sides have sent close_notify.
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

/// A buffer that belongs to the thread, and is returned to it when dropped.
pub(crate) struct ScratchBuffer {
    pub(crate) bytes: Vec<u8>,
    owner: &'static LocalKey<Cell<Vec<u8>>>,
    length: usize,
}

thread_local! {
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl ScratchBuffer {
    /// A buffer for ciphertext from a socket: [`READ_SIZE`] bytes.
    pub(crate) fn incoming() -> ScratchBuffer {
        ScratchBuffer::take(&INCOMING, READ_SIZE)
    }

    /// A buffer for ciphertext to a socket: [`WRITE_SIZE`] bytes and what their records add.
    pub(crate) fn outgoing() -> ScratchBuffer {
        ScratchBuffer::take(&OUTGOING, WRITE_SIZE + (WRITE_SIZE / MAX_RECORD + 1) * MAX_RECORD_OVERHEAD)
    }

    fn take(owner: &'static LocalKey<Cell<Vec<u8>>>, length: usize) -> ScratchBuffer {
        let mut bytes = owner.take();
        bytes.resize(length, 0);
        ScratchBuffer { bytes, owner, length }
    }
}

impl Drop for ScratchBuffer {
    fn drop(&mut self) {
        self.bytes.truncate(self.length);
        let bytes = std::mem::take(&mut self.bytes);
        // Fails only when the thread ends, and then the buffer is freed.
        let _ = self.owner.try_with(|owner| owner.set(bytes));
    }
}
