//! The head of a request: request line and header section (RFC 9112 §3 and §5).
//!
//! ```text
//! request-line = method SP request-target SP HTTP-version CRLF
//! field-line   = field-name ":" OWS field-value OWS CRLF
//! head         = request-line *field-line CRLF
//! ```
//!
//! [`HeadParser`] visits the bits of the masks that [`scan`](super::scan) computes, and records the positions of the
//! elements in its state. It copies nothing, and it classifies no byte a second time when more input arrives: a head
//! that arrives byte by byte costs no more than its length. Two paths read the input. The fast path accepts whole,
//! well-formed lines; the slow path reads every other line, resumes it and refuses it. What the head means (framing,
//! Host, target) is checked afterwards, in [`framing`](super::framing) and [`target`](super::target).
//!
//! Invariant: the whole input and the same input cut anywhere give the same result.

mod fast_path;
mod known;
mod options;
mod slow_path;
mod state;
#[cfg(test)]
mod tests;
mod view;

use super::error::Error;
use super::scan::Backend;
use fast_path::FastPath;
use slow_path::SlowPath;
use state::{ParserState, Stage};

pub(crate) use known::Known;
pub use options::{HeadLimits, HeadOptions};
pub use view::{Field, Head};

/// A resumable parser of request heads. One parser reads any number of heads, one after another.
///
/// ```
/// use amboss_core::http::{HeadOptions, HeadParser};
///
/// let mut parser = HeadParser::new(HeadOptions::default());
/// let mut input = b"GET /where?q=1 HTTP/1.1\r\nHost: exam".to_vec();
/// assert_eq!(parser.parse(&input, input.len()), Ok(None)); // more is needed
///
/// input.extend_from_slice(b"ple.org\r\n\r\nbody");
/// let length = parser.parse(&input, input.len()).unwrap().unwrap();
/// assert_eq!(&input[length..], b"body");
///
/// let head = parser.head(&input);
/// assert_eq!(head.method(), b"GET");
/// assert_eq!(head.target(), b"/where?q=1");
/// assert_eq!(head.get("host"), Some(&b"example.org"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct HeadParser {
    backend: Backend,
    state: ParserState,
}

impl HeadParser {
    /// Creates a parser with these options, which uses the fastest kernel of this processor.
    pub fn new(options: HeadOptions) -> HeadParser {
        HeadParser::with_backend(options, Backend::best())
    }

    /// Creates a parser with a given kernel, for comparing kernels.
    pub(crate) fn with_backend(options: HeadOptions, backend: Backend) -> HeadParser {
        HeadParser { backend, state: ParserState::new(options) }
    }

    /// Creates a parser with the same options.
    pub(crate) fn fresh(&self) -> HeadParser {
        HeadParser::with_backend(self.state.options, self.backend)
    }

    /// Forgets the head; the next call of [`parse`](HeadParser::parse) begins a new one.
    #[inline]
    pub fn reset(&mut self) {
        self.state.reset();
    }

    /// Whether no byte of a head has been read since the last reset.
    pub fn is_untouched(&self) -> bool {
        self.state.stage == Stage::Method && self.state.position == 0
    }

    /// Reads the head that begins at `buffer[0]`, of which the first `filled` bytes are present.
    ///
    /// Returns the length of the head, its final empty line included, or `None` if more input is needed. In that case,
    /// call it again with more bytes at the same place relative to `buffer[0]`. The bytes of `buffer` after `filled`
    /// are never interpreted; if there are at least 64 of them, the end of the input can be classified in place, which
    /// is faster. `buffer.len() == filled` is fine.
    ///
    /// # Errors
    /// The kinds of [`ErrorKind`](super::ErrorKind) that concern lines, the request line and fields. After an error the
    /// parser needs a [`reset`](HeadParser::reset).
    ///
    /// # Panics
    /// If `filled` is greater than `buffer.len()`.
    #[inline]
    pub fn parse(&mut self, buffer: &[u8], filled: usize) -> Result<Option<usize>, Error> {
        // The fast path is a function of its own, which the compiler can keep in registers. The slow path reads every
        // line that stops it.
        match self.backend.run_if_wide(FastPath { parser: &mut self.state, buffer, filled }) {
            Some(length) => self.checked(length),
            None => self.parse_slow_path(buffer, filled),
        }
    }

    /// Returns the length of the complete head, unless one of its fields is too long.
    #[inline(always)]
    fn checked(&self, length: usize) -> Result<Option<usize>, Error> {
        if self.state.options.limits.field < length {
            self.state.check_fields()?;
        }
        Ok(Some(length))
    }

    /// Continues with the slow path. Not inlined, so that it does not take registers from the fast path.
    #[inline(never)]
    fn parse_slow_path(&mut self, buffer: &[u8], filled: usize) -> Result<Option<usize>, Error> {
        assert!(filled <= buffer.len(), "filled is greater than the buffer");
        if self.state.stage == Stage::Done {
            return Ok(Some(self.state.position));
        }
        if self.state.position >= filled {
            // The fast path may have stopped just beyond the limit.
            return self.state.need_more(self.state.position).map(|_| None);
        }
        match self.backend.run(SlowPath { parser: &mut self.state, buffer, filled })? {
            Some(length) => self.checked(length),
            None => Ok(None),
        }
    }

    /// Returns the head after [`parse`](HeadParser::parse) returned its length. `buffer` has to hold the same bytes.
    ///
    /// # Panics
    /// If no head is complete.
    #[inline]
    pub fn head<'a>(&'a self, buffer: &'a [u8]) -> Head<'a> {
        assert!(self.state.stage == Stage::Done, "the head is not complete");
        Head { parser: &self.state, bytes: &buffer[..self.state.position] }
    }
}
