//! The interface of the parsers under measurement.

use super::inputs::Input;
use std::time::{Duration, Instant};

/// A parser under measurement.
pub trait Parser {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Parses the head at the start of `buffer[..filled]`, and returns its [`digest`](super::inputs::digest), so that
    /// the compiler cannot remove any of the parser's work. `None` when the parser does not accept the head as
    /// complete.
    fn parse(&mut self, buffer: &[u8], filled: usize) -> Option<usize>;

    /// Parses the inputs in this order, and returns how long that took. It is a provided method so that the loop is
    /// compiled once for each parser, with the parser inlined.
    fn time_slice(&mut self, inputs: &[Input], order: &[u8]) -> Duration {
        let start = Instant::now();
        for &index in order {
            let input = &inputs[usize::from(index)];
            let buffer = std::hint::black_box(&input.buffer[..]);
            std::hint::black_box(self.parse(buffer, std::hint::black_box(input.filled)));
        }
        start.elapsed()
    }
}
