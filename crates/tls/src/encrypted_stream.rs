//! A TLS connection on a nonblocking socket, from the first handshake record on.

use std::io::{self, Read, Write};
use std::sync::Arc;

use amboss_core::Socket;
use rustls::ServerConfig;

use crate::record_layer::{Progress, RecordLayer, ScratchBuffer};
use crate::tls_error::to_io_error;

/// The maximum number of reads in one call that yield no plaintext. A client can send empty records or change keys;
/// after this many, other connections go first.
const MAX_EMPTY_READS: usize = 4;

/// The state of an encrypted connection. Its socket is passed to each call.
pub(crate) struct EncryptedStream {
    pub(crate) records: RecordLayer,
    /// The length of the plaintext whose ciphertext has not been sent completely, and how much of it was reported as
    /// written. The caller passes the rest of the plaintext again, in front of further data.
    plaintext: usize,
    reported: usize,
    /// Whether close_notify was sent, or must not be sent because the response was cut short.
    write_closed: bool,
}

impl EncryptedStream {
    pub(crate) fn new(config: Arc<ServerConfig>) -> io::Result<EncryptedStream> {
        let records = RecordLayer::new(config).map_err(|error| to_io_error(&error))?;
        Ok(EncryptedStream { records, plaintext: 0, reported: 0, write_closed: false })
    }

    /// Processes handshake records from the client.
    pub(crate) fn process_handshake(&mut self, bytes: &mut [u8]) -> Progress {
        self.records.decrypt(bytes, &mut [], &mut 0)
    }

    /// Whether [`read`](EncryptedStream::read) returns at once without reading from the socket.
    pub(crate) fn has_buffered(&self) -> bool {
        let records = &self.records;
        !records.read_ahead.is_empty() || records.read_closed || records.failed.is_some()
    }

    /// Sends the ciphertext in `outgoing`.
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        let records = &mut self.records;
        while records.sent < records.outgoing.len() {
            match { socket }.write(&records.outgoing[records.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => records.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        records.sent = 0;
        records.outgoing = Vec::new();
        Ok(())
    }

    pub(crate) fn read(&mut self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let read_ahead = &mut self.records.read_ahead;
        if !read_ahead.is_empty() {
            let count = read_ahead.read(buffer)?;
            if read_ahead.is_empty() {
                *read_ahead = Default::default();
            }
            return Ok(count);
        }
        for _ in 0..MAX_EMPTY_READS {
            if let Some(error) = &self.records.failed {
                return Err(to_io_error(error));
            }
            if self.records.read_closed {
                return Ok(0);
            }
            let mut scratch = ScratchBuffer::incoming();
            let count = { socket }.read(&mut scratch.bytes)?;
            if count == 0 {
                self.records.read_closed = true;
                return Ok(0);
            }
            let mut filled = 0;
            self.records.decrypt(&mut scratch.bytes[..count], buffer, &mut filled);
            if self.records.failed.is_some() {
                // Sends as much of the alert as the socket accepts.
                self.write_closed = true;
                let _ = self.flush(socket);
            }
            if filled > 0 {
                return Ok(filled);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Encrypts and sends the beginning of `first` followed by `second`. Returns how much plaintext counts as written.
    pub(crate) fn write(&mut self, socket: &Socket, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let offered = first.len() + second.len();
        if self.records.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.plaintext > 0 {
            match self.flush(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => result?,
            }
            return self.report_written(offered);
        }
        // Other records may still be unsent, such as a session ticket.
        self.flush(socket)?;
        let mut scratch = ScratchBuffer::outgoing();
        let encrypted = self.records.encrypt(first, second, &mut scratch.bytes);
        let (plaintext, ciphertext) = encrypted.map_err(|error| to_io_error(&error))?;
        let out = &scratch.bytes[..ciphertext];
        let sent = loop {
            match { socket }.write(out) {
                Ok(0) if ciphertext > 0 => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) => return Err(error),
            }
        };
        if sent == ciphertext {
            return Ok(plaintext);
        }
        self.records.outgoing = out[sent..].to_vec();
        (self.plaintext, self.reported) = (plaintext, 0);
        self.report_written(offered)
    }

    /// Returns how much more plaintext counts as written. What the records add to it counts as sent first, so that the
    /// last byte is reported only when all ciphertext has been sent.
    fn report_written(&mut self, offered: usize) -> io::Result<usize> {
        let unsent = self.records.outgoing.len() - self.records.sent;
        let written = self.plaintext.saturating_sub(unsent);
        // An alert may have been appended to the unsent ciphertext, so that `written` is smaller than before.
        let count = written.saturating_sub(self.reported).min(offered);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.reported += count;
        if self.reported == self.plaintext {
            (self.plaintext, self.reported) = (0, 0);
        }
        Ok(count)
    }

    /// Announces that the server sends no more, as far as the socket accepts it.
    pub(crate) fn send_close_notify(&mut self, socket: &Socket) {
        let records = &mut self.records;
        if !self.write_closed && !records.connection.is_handshaking() && records.queue_close_notify().is_ok() {
            let _ = self.flush(socket);
        }
        self.write_closed = true;
    }

    /// Makes sure that no close_notify is sent: the client has to notice that the response was cut short.
    pub(crate) fn suppress_close_notify(&mut self) {
        self.write_closed = true;
    }
}
