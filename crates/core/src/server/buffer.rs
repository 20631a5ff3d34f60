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

    /// Is it of the usual size, and worth keeping for another connection?
    pub(super) fn is_reusable(&self) -> bool {
        self.bytes.len() == SIZE + SLACK
    }
}
