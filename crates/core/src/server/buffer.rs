//! A connection's one buffer: what was read and not yet used up, and the parser that knows its way in it.

use crate::http::{HeadOptions, HeadParser};

/// Room for what is usually read at once; grows to the limits of a head when one needs it.
const SIZE: usize = 16 * 1024;
/// Bytes behind the data, so that the parser never has to copy the tail.
pub(super) const SLACK: usize = 64;

pub(crate) struct Buffer {
    /// Initialised throughout; the last `SLACK` bytes are never filled.
    pub(super) bytes: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Counts from `start`.
    pub(super) parser: HeadParser,
}

impl Buffer {
    pub(crate) fn new(options: HeadOptions) -> Box<Buffer> {
        Box::new(Buffer { bytes: vec![0; SIZE + SLACK], start: 0, end: 0, parser: HeadParser::new(options) })
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The free part, at least `room` bytes of it.
    #[inline]
    pub(super) fn free(&mut self, room: usize) -> &mut [u8] {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - SLACK - self.end < room {
            self.make_room(room);
        }
        let limit = self.bytes.len() - SLACK;
        &mut self.bytes[self.end..limit]
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

    /// Forgets `count` bytes and begins with a new head behind them.
    #[inline]
    pub(super) fn next_request(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        self.parser.reset();
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        self.parser.reset();
    }

    /// Moves a complete head of `length` bytes into a buffer of just its size, with the parser that knows it. What
    /// follows the head stays.
    pub(super) fn split_head(&mut self, length: usize) -> Buffer {
        let mut bytes = Vec::with_capacity(length + SLACK);
        bytes.extend_from_slice(&self.bytes[self.start..self.start + length]);
        bytes.resize(length + SLACK, 0);
        let fresh = self.parser.fresh();
        let parser = std::mem::replace(&mut self.parser, fresh);
        self.start += length;
        Buffer { bytes, start: 0, end: length, parser }
    }

    /// The reverse: puts a head in front of what is here.
    pub(super) fn restore_head(&mut self, head: Buffer) {
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

    /// Is it of the usual size, and worth keeping for another connection?
    pub(super) fn is_reusable(&self) -> bool {
        self.bytes.len() == SIZE + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_split_off_and_restored_is_the_same() {
        const HEAD: &[u8] = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n";
        // What stands in front of the head, and what follows it when it is restored.
        for before in [0, 10, 15_000] {
            for after in [0, 1, SIZE - HEAD.len()] {
                let mut buffer = Buffer::new(HeadOptions::default());
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
