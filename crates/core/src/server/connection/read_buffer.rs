//! The bytes that a connection has read but not processed, and the parser of the head among them.

use crate::http::{HeadOptions, HeadParser};
use crate::server::settings::Settings;

/// The usual size in bytes, which is what one read can return. The buffer grows up to the limits of a head.
const SIZE: usize = 16 * 1024;
/// The number of initialised bytes behind the data. The parser's vector loads may read them, so that it need not copy
/// the tail.
pub(in crate::server) const SLACK: usize = 64;

pub(crate) struct ReadBuffer {
    /// All bytes are initialised; the last `SLACK` bytes are never filled with data.
    pub(in crate::server) bytes: Vec<u8>,
    pub(in crate::server) start: usize,
    pub(in crate::server) end: usize,
    /// The parser of the head that begins at `start`; its positions are relative to `start`.
    pub(in crate::server) parser: HeadParser,
}

impl ReadBuffer {
    /// Makes an empty buffer whose parser has the limits and the leniency of the settings.
    pub(crate) fn with_settings(settings: &Settings) -> Box<ReadBuffer> {
        ReadBuffer::new((settings.limits.head, settings.leniency).into())
    }

    pub(crate) fn new(options: HeadOptions) -> Box<ReadBuffer> {
        Box::new(ReadBuffer { bytes: vec![0; SIZE + SLACK], start: 0, end: 0, parser: HeadParser::new(options) })
    }

    #[inline]
    pub(in crate::server) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline]
    pub(in crate::server) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns the bytes that have been read but not processed.
    #[inline]
    pub(in crate::server) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Returns the free space behind the data, at least `room` bytes.
    #[inline]
    pub(in crate::server) fn free(&mut self, room: usize) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - SLACK - self.end < room {
            self.make_room(room);
        }
        let limit = self.bytes.len() - SLACK;
        &mut self.bytes[self.end..limit]
    }

    /// Appends bytes to the data.
    pub(in crate::server) fn append(&mut self, bytes: &[u8]) {
        self.free(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    #[cold]
    fn make_room(&mut self, room: usize) {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        let needed = self.end + room + SLACK;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.next_power_of_two() + SLACK, 0);
        }
    }

    /// Discards `count` bytes, after which a new head begins.
    #[inline]
    pub(in crate::server) fn next_request(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        self.parser.reset();
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Discards everything.
    pub(in crate::server) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        self.parser.reset();
    }

    /// Moves a complete head of `length` bytes, and the parser's state, into a buffer of exactly its size. What follows the
    /// head stays.
    pub(in crate::server) fn split_head(&mut self, length: usize) -> ReadBuffer {
        let mut bytes = Vec::with_capacity(length + SLACK);
        bytes.extend_from_slice(&self.bytes[self.start..self.start + length]);
        bytes.resize(length + SLACK, 0);
        let fresh = self.parser.fresh();
        let parser = std::mem::replace(&mut self.parser, fresh);
        self.start += length;
        ReadBuffer { bytes, start: 0, end: length, parser }
    }

    /// Puts a head that was split off back in front of the unread bytes.
    pub(in crate::server) fn restore_head(&mut self, head: ReadBuffer) {
        let length = head.len();
        if self.is_empty() {
            (self.start, self.end) = (length, length);
        }
        if self.start < length {
            let needed = length + self.len() + SLACK;
            if self.bytes.len() < needed {
                self.bytes.resize(needed, 0);
            }
            self.bytes.copy_within(self.start..self.end, length);
            (self.start, self.end) = (length, length + self.len());
        }
        if self.bytes.len() < self.end + SLACK {
            self.bytes.resize(self.end + SLACK, 0);
        }
        self.start -= length;
        self.bytes[self.start..self.start + length].copy_from_slice(&head.bytes[head.start..head.end]);
        self.parser = head.parser;
    }

    /// Whether the buffer has the usual size and is kept for another connection.
    pub(in crate::server) fn is_reusable(&self) -> bool {
        self.bytes.len() == SIZE + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_split_off_and_restored_is_the_same() {
        const HEAD: &[u8] = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n";
        // How many bytes precede the head, and how many follow it when it is restored.
        for before in [0, 10, 15_000] {
            for after in [0, 1, SIZE - HEAD.len()] {
                let mut buffer = ReadBuffer::new(HeadOptions::default());
                buffer.free(1)[..before].fill(b'x');
                buffer.end = before;
                buffer.start = before;
                buffer.free(HEAD.len())[..HEAD.len()].copy_from_slice(HEAD);
                buffer.end += HEAD.len();
                let length = buffer.parser.parse(&buffer.bytes[buffer.start..], buffer.len()).unwrap().unwrap();
                let head = buffer.split_head(length);
                assert!(buffer.is_empty() && buffer.parser.is_untouched());
                if after > 0 {
                    buffer.free(after)[..after].fill(b'y');
                    buffer.end += after;
                }
                buffer.restore_head(head);
                let bytes = &buffer.bytes[buffer.start..buffer.end];
                assert_eq!(buffer.parser.head(bytes).target(), b"/a");
                assert_eq!(&bytes[..length], HEAD);
                assert_eq!(&bytes[length..], vec![b'y'; after]);
                assert!(buffer.bytes.len() >= buffer.end + SLACK);
            }
        }
    }
}
