//! The head of a request: request line and header section (RFC 9112 §3 and §5).
//!
//! ```text
//! request-line = method SP request-target SP HTTP-version CRLF
//! field-line   = field-name ":" OWS field-value OWS CRLF
//! head         = request-line *field-line CRLF
//! ```
//!
//! [`HeadParser`] walks the bit masks of [`scan`](super::scan) and notes where things stand; nothing is copied and no
//! byte is classified again when more input arrives, so a head that comes byte by byte costs no more than its length.
//! Whether the head makes sense (framing, Host, target) is judged afterwards, in [`framing`](super::framing) and
//! [`target`](super::target).
//!
//! Invariants: `position` never passes a byte that was not classified; every span lies within the bytes parsed so far;
//! whole input and input cut anywhere give the same result.

mod anything;
mod fast;
#[cfg(test)]
mod tests;
mod view;

use super::error::{Error, ErrorKind};
use super::leniency::Leniency;
use super::scan::Choice;
use anything::Parse;
pub use view::{Field, Head};

/// Bounds on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadLimits {
    /// Bytes of the request line without its line end; 8 KiB, which RFC 9112 §3 asks for. Beyond: 414.
    pub request_line: usize,
    /// Bytes of the header section; 64 KiB, room for the largest cookies and tokens in use. Beyond: 431.
    pub header_section: usize,
    /// Field lines; 100, several times what browsers and proxies send together. Beyond: 431.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits { request_line: 8 * 1024, header_section: 64 * 1024, fields: 100 }
    }
}

/// What a head may look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadOptions {
    /// Bounds.
    pub limits: HeadLimits,
    /// Departures from strictness.
    pub leniency: Leniency,
}

impl From<(HeadLimits, Leniency)> for HeadOptions {
    fn from((limits, leniency): (HeadLimits, Leniency)) -> HeadOptions {
        HeadOptions { limits, leniency }
    }
}

/// The protocol version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// As it stands in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct FieldSpan {
    name: Span,
    value: Span,
}

/// Marks a value that was folded: its span counts in `HeadParser::unfolded`, not in the input.
const UNFOLDED: u32 = 1 << 31;

/// The fields a server has to know about, noted while parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Upgrade,
    ContentType,
}

const KNOWN: usize = 7;
const ABSENT: u16 = u16::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Method,
    Target,
    Version,
    Name,
    Value,
    /// The continuation line of a folded value.
    Fold,
    Done,
}

/// A resumable parser of request heads. One instance serves any number of heads, one after another.
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
    options: HeadOptions,
    kernel: Choice,
    stage: Stage,
    /// Where classification goes on.
    position: usize,
    /// Where the element being read began.
    mark: usize,
    /// The name of the field whose value is being read ends here.
    name_end: usize,
    /// The end of the last value before trimming: what a fold continues.
    raw_end: u32,
    /// The last byte position at which the header section may stand.
    section_end: usize,
    method: Span,
    target: Span,
    version: Version,
    fields: Box<[FieldSpan]>,
    count: usize,
    known: [u16; KNOWN],
    repeated: u8,
    unfolded: Vec<u8>,
}

impl HeadParser {
    /// A parser with these options, using the fastest kernel of this processor.
    pub fn new(options: HeadOptions) -> HeadParser {
        HeadParser::with_kernel(options, Choice::best())
    }

    /// A parser with a given kernel, for comparing them.
    #[doc(hidden)]
    pub fn with_kernel(options: HeadOptions, kernel: Choice) -> HeadParser {
        HeadParser {
            options,
            kernel,
            stage: Stage::Method,
            position: 0,
            mark: 0,
            name_end: 0,
            raw_end: 0,
            section_end: 0,
            method: Span::default(),
            target: Span::default(),
            version: Version::Http11,
            fields: vec![FieldSpan::default(); options.limits.fields.min(usize::from(ABSENT))].into_boxed_slice(),
            count: 0,
            known: [ABSENT; KNOWN],
            repeated: 0,
            unfolded: Vec::new(),
        }
    }

    /// Forgets the head; the next call of [`parse`](HeadParser::parse) begins a new one.
    #[inline]
    pub fn reset(&mut self) {
        self.stage = Stage::Method;
        self.position = 0;
        self.mark = 0;
        self.count = 0;
        self.known = [ABSENT; KNOWN];
        self.repeated = 0;
        self.unfolded.clear();
    }

    /// Reads the head that begins at `buffer[0]`, of which `filled` bytes are there.
    ///
    /// Call it again with more bytes, at the same place relative to `buffer[0]`, after `Ok(None)`. What lies in
    /// `buffer` behind `filled` is never interpreted; when it is at least 64 bytes, the end of the input can be
    /// classified in place, which is faster. `buffer.len() == filled` is fine.
    ///
    /// Returns the length of the head, its final empty line included, or `None` if more is needed.
    ///
    /// # Errors
    /// See [`ErrorKind`]: those that concern lines, the request line and fields. The parser needs a
    /// [`reset`](HeadParser::reset) then.
    ///
    /// # Panics
    /// If `filled` is greater than `buffer.len()`.
    #[inline]
    pub fn parse(&mut self, buffer: &[u8], filled: usize) -> Result<Option<usize>, Error> {
        // Well-formed lines first, in a function of its own that the compiler can keep in registers; whatever stops
        // that is judged by the other.
        match self.kernel.run_if_wide(fast::WellFormed { parser: self, buffer, filled }) {
            Some(length) => Ok(Some(length)),
            None => self.parse_anything(buffer, filled),
        }
    }

    /// The other half; kept out of the way of the first one's registers.
    #[inline(never)]
    fn parse_anything(&mut self, buffer: &[u8], filled: usize) -> Result<Option<usize>, Error> {
        assert!(filled <= buffer.len(), "filled is greater than the buffer");
        if self.stage == Stage::Done {
            return Ok(Some(self.position));
        }
        if self.position >= filled {
            // The other half may have stopped just behind the bound.
            return self.more(self.position).map(|_| None);
        }
        self.kernel.run(Parse { parser: self, buffer, filled })
    }

    /// The head, after [`parse`](HeadParser::parse) returned its length. `buffer` has to hold the same bytes.
    ///
    /// # Panics
    /// If no head is complete.
    #[inline]
    pub fn head<'a>(&'a self, buffer: &'a [u8]) -> Head<'a> {
        assert!(self.stage == Stage::Done, "the head is not complete");
        Head { parser: self, bytes: &buffer[..self.position] }
    }

    /// A new parser with the same options.
    pub(crate) fn fresh(&self) -> HeadParser {
        HeadParser::with_kernel(self.options, self.kernel)
    }

    /// True when no byte of a head has been seen since the last reset.
    pub fn is_untouched(&self) -> bool {
        self.stage == Stage::Method && self.position == 0
    }

    /// Files the field `[mark, name_end)` with the value between `start` and `end`, both trimmed here.
    #[inline(always)]
    fn push(&mut self, buffer: &[u8], start: usize, end: usize) -> Result<(), Error> {
        self.raw_end = end as u32;
        let (start, end) = trim(buffer, start, end);
        if self.count >= self.fields.len() {
            return Err(Error::new(ErrorKind::TooManyFields, self.mark));
        }
        note(&mut self.known, &mut self.repeated, &buffer[self.mark..self.name_end], self.count);
        self.fields[self.count] = FieldSpan { name: span(self.mark, self.name_end), value: span(start, end) };
        self.count += 1;
        Ok(())
    }

    /// Appends the continuation `[start, end)` to the last field's value.
    #[cold]
    fn unfold(&mut self, buffer: &[u8], start: usize, end: usize) {
        let last = &mut self.fields[self.count - 1];
        if last.value.start & UNFOLDED == 0 {
            // From the value's first byte to its untrimmed end: white space is kept, CR LF removed.
            let begin = self.unfolded.len() as u32;
            let raw = Span { start: last.value.start, end: self.raw_end };
            self.unfolded.extend_from_slice(raw.of(buffer));
            last.value.start = begin | UNFOLDED;
        }
        self.unfolded.extend_from_slice(&buffer[start..end]);
        let from = (last.value.start & !UNFOLDED) as usize;
        let (from, end) = trim(&self.unfolded, from, self.unfolded.len());
        last.value = Span { start: from as u32 | UNFOLDED, end: end as u32 };
    }

    /// An error, unless the bound was passed first: then that is the error, however the input was cut.
    #[cold]
    fn fail(&self, kind: ErrorKind, position: usize) -> Error {
        match self.stage {
            Stage::Method | Stage::Target | Stage::Version if position > self.options.limits.request_line => {
                Error::new(ErrorKind::RequestLineTooLong, self.options.limits.request_line)
            }
            Stage::Name | Stage::Value | Stage::Fold if position > self.section_end => {
                Error::new(ErrorKind::HeaderSectionTooLarge, self.section_end)
            }
            _ => Error::new(kind, position),
        }
    }

    /// More input is needed, from `position` on; refused when what is there is too long already.
    #[cold]
    fn more(&mut self, position: usize) -> Result<bool, Error> {
        self.position = position;
        let passed = match self.stage {
            Stage::Method | Stage::Target | Stage::Version => position > self.options.limits.request_line,
            _ => position > self.section_end,
        };
        if passed {
            return Err(self.fail(ErrorKind::HeaderSectionTooLarge, position));
        }
        Ok(false)
    }

    /// The request line is read; the header section begins at `start`.
    #[inline(always)]
    fn begin_fields(&mut self, start: usize) {
        self.section_end = start.saturating_add(self.options.limits.header_section).min(UNFOLDED as usize - 1);
        self.mark = start;
        self.position = start;
        self.stage = Stage::Name;
    }
}

/// Takes note of a field that a server has to know about.
#[inline(always)]
fn note(known: &mut [u16; KNOWN], repeated: &mut u8, name: &[u8], index: usize) {
    /// Compares a token with a name in lower case, all bytes at once. Setting the bit of lower case changes nothing
    /// but letters here: a token has no other byte that would become one of a name's.
    #[inline(always)]
    fn is<const N: usize>(name: &[u8], full: &[u8; N]) -> bool {
        name.first_chunk::<N>().is_some_and(|name| {
            let mut difference = 0;
            for i in 0..N {
                difference |= (name[i] | 0x20) ^ full[i];
            }
            difference == 0
        })
    }
    let which = match name.len() {
        4 if is(name, b"host") => Known::Host,
        10 if is(name, b"connection") => Known::Connection,
        14 if is(name, b"content-length") => Known::ContentLength,
        12 if is(name, b"content-type") => Known::ContentType,
        17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
        6 if is(name, b"expect") => Known::Expect,
        7 if is(name, b"upgrade") => Known::Upgrade,
        _ => return,
    };
    let slot = &mut known[which as usize];
    if *slot == ABSENT {
        *slot = index as u16;
    } else {
        *repeated |= 1 << which as u8;
    }
}

#[inline(always)]
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// Cuts optional white space off both ends of a field value (RFC 9110 §5.6.3).
#[inline(always)]
fn trim(buffer: &[u8], start: usize, end: usize) -> (usize, usize) {
    // Of the bytes a value may hold, SP and HTAB are the only ones up to SP: one comparison each. What nearly every
    // sender writes is a single space in front.
    let mut start = start;
    if start < end && buffer[start] == b' ' {
        start += 1;
    }
    if start < end && (buffer[start] <= b' ' || buffer[end - 1] <= b' ') {
        let trimmed = buffer[start..end].trim_ascii_start();
        start = end - trimmed.len();
        return (start, start + trimmed.trim_ascii_end().len());
    }
    (start, end)
}
