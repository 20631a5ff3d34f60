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

use std::marker::PhantomData;

use super::error::{Error, ErrorKind};
use super::leniency::Leniency;
use super::scan::{Choice, Class, Kernel, Token, Value, Visible, Walk, BLOCK};

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
}

const KNOWN: usize = 6;
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

/// Where bytes outside one class stand, block by block, each block classified once.
struct Bits<'a, K, C> {
    kernel: K,
    class: PhantomData<C>,
    buffer: &'a [u8],
    filled: usize,
    base: usize,
    bits: u64,
}

impl<'a, K: Kernel, C: Class> Bits<'a, K, C> {
    #[inline(always)]
    fn new(kernel: K, buffer: &'a [u8], filled: usize, from: usize) -> Bits<'a, K, C> {
        Bits { kernel, class: PhantomData, buffer, filled, base: from.wrapping_sub(BLOCK), bits: 0 }
    }

    #[inline(always)]
    fn load(&mut self, base: usize) {
        let rest = &self.buffer[base..];
        let bits = match rest.first_chunk::<BLOCK>() {
            Some(block) => C::outside(self.kernel, block),
            None => C::outside(self.kernel, &padded(rest)),
        };
        let there = self.filled - base;
        self.base = base;
        self.bits = if there < BLOCK { bits & ((1 << there) - 1) } else { bits };
    }

    /// The first position from `from` on whose bit is set, or `filled`. `from` never goes back.
    #[inline(always)]
    fn next(&mut self, mut from: usize) -> usize {
        let offset = from.wrapping_sub(self.base);
        if offset < BLOCK {
            let bits = self.bits >> offset;
            if bits != 0 {
                return from + bits.trailing_zeros() as usize;
            }
            from = self.base + BLOCK;
        }
        while from < self.filled {
            self.load(from);
            if self.bits != 0 {
                return from + self.bits.trailing_zeros() as usize;
            }
            from += BLOCK;
        }
        self.filled
    }
}

/// The last bytes of a buffer without slack.
#[cold]
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

struct Parse<'p, 'b> {
    parser: &'p mut HeadParser,
    buffer: &'b [u8],
    filled: usize,
}

impl Walk for Parse<'_, '_> {
    type Output = Result<Option<usize>, Error>;

    #[inline(always)]
    fn walk<K: Kernel>(self, kernel: K) -> Self::Output {
        let Parse { parser, buffer, filled } = self;
        // A method is checked from its start once its end is known.
        let from = if parser.stage == Stage::Method { parser.mark } else { parser.position };
        let mut tokens = Bits::<K, Token>::new(kernel, buffer, filled, from);
        if matches!(parser.stage, Stage::Method | Stage::Target | Stage::Version)
            && !request_line(parser, kernel, &mut tokens, buffer, filled)?
        {
            return Ok(None);
        }
        fields(parser, kernel, &mut tokens, buffer, filled)
    }
}

/// Reads the request line; false when more is needed.
#[inline(always)]
fn request_line<K: Kernel>(
    parser: &mut HeadParser,
    kernel: K,
    tokens: &mut Bits<'_, K, Token>,
    buffer: &[u8],
    filled: usize,
) -> Result<bool, Error> {
    // One view of the input, so that one comparison settles every later index.
    let input = &buffer[..filled];
    let bare_lf = parser.options.leniency.bare_lf;
    let mut visible = Bits::<K, Visible>::new(kernel, buffer, filled, parser.position);

    if parser.stage == Stage::Method {
        let mut space = visible.next(parser.position);
        // RFC 9112 §2.2: empty lines before the request line are ignored.
        while space == parser.mark && space < filled && is_line_start(input[space]) {
            let after = match line_end(input, space, bare_lf) {
                Ok(Some(after)) => after,
                Ok(None) => return parser.more(space),
                Err(kind) => return Err(parser.fail(kind, space)),
            };
            parser.mark = after;
            parser.position = after;
            space = visible.next(after);
        }
        if space == filled {
            return parser.more(space);
        }
        let end = tokens.next(parser.mark);
        if end != space || input[space] != b' ' || space == parser.mark {
            let position = end.min(space);
            let kind = match input[position] {
                b'\r' | b'\n' => ErrorKind::RequestLine,
                _ => ErrorKind::Method,
            };
            // The bound is judged by where scanning stopped, not by what it found on the way.
            return Err(match parser.fail(kind, space) {
                error if error.kind() == kind => Error::new(kind, position),
                error => error,
            });
        }
        parser.method = span(parser.mark, space);
        parser.mark = space + 1;
        parser.position = space + 1;
        parser.stage = Stage::Target;
    }

    if parser.stage == Stage::Target {
        let mut space = visible.next(parser.position);
        if parser.options.leniency.raw_target {
            while space < filled && input[space] >= 0x80 {
                space = visible.next(space + 1);
            }
        }
        if space == filled {
            return parser.more(space);
        }
        if input[space] != b' ' || space == parser.mark {
            let kind = match input[space] {
                b'\r' | b'\n' => ErrorKind::RequestLine,
                _ => ErrorKind::Target,
            };
            return Err(parser.fail(kind, space));
        }
        parser.target = span(parser.mark, space);
        parser.mark = space + 1;
        parser.position = space + 1;
        parser.stage = Stage::Version;
    }

    let end = visible.next(parser.position);
    if end == filled {
        return parser.more(end);
    }
    let after = match line_end(input, end, bare_lf) {
        Ok(Some(after)) => after,
        Ok(None) => return parser.more(end),
        Err(ErrorKind::FieldValue) => return Err(parser.fail(ErrorKind::RequestLine, end)),
        Err(kind) => return Err(parser.fail(kind, end)),
    };
    if end > parser.options.limits.request_line {
        return Err(parser.fail(ErrorKind::RequestLineTooLong, end));
    }
    parser.version = match &input[parser.mark..end] {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other => {
            let kind = match other {
                [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                    if major.is_ascii_digit() && minor.is_ascii_digit() =>
                {
                    ErrorKind::Version
                }
                _ => ErrorKind::RequestLine,
            };
            return Err(parser.fail(kind, parser.mark));
        }
    };
    parser.begin_fields(after);
    Ok(true)
}

/// Reads the header section. Its length, once its end is there.
#[inline(always)]
fn fields<K: Kernel>(
    parser: &mut HeadParser,
    kernel: K,
    tokens: &mut Bits<'_, K, Token>,
    buffer: &[u8],
    filled: usize,
) -> Result<Option<usize>, Error> {
    let input = &buffer[..filled];
    let mut values = Bits::<K, Value>::new(kernel, buffer, filled, parser.position);
    let bare_lf = parser.options.leniency.bare_lf;
    loop {
        if parser.stage == Stage::Name {
            let start = parser.mark;
            let end = tokens.next(parser.position);
            if end == filled {
                return parser.more(end).map(|_| None);
            }
            if end == start {
                match input[start] {
                    b'\r' | b'\n' => match line_end(input, start, bare_lf) {
                        Ok(Some(_)) if start > parser.section_end => {
                            return Err(parser.fail(ErrorKind::HeaderSectionTooLarge, start));
                        }
                        Ok(Some(after)) => {
                            parser.stage = Stage::Done;
                            parser.position = after;
                            return Ok(Some(after));
                        }
                        Ok(None) => return parser.more(start).map(|_| None),
                        Err(kind) => return Err(parser.fail(kind, start)),
                    },
                    b' ' | b'\t' if parser.count == 0 => {
                        return Err(parser.fail(ErrorKind::LeadingSpace, start));
                    }
                    b' ' | b'\t' if parser.options.leniency.obs_fold => parser.stage = Stage::Fold,
                    b' ' | b'\t' => return Err(parser.fail(ErrorKind::ObsFold, start)),
                    _ => return Err(parser.fail(ErrorKind::FieldName, start)),
                }
            } else if input[end] == b':' {
                parser.name_end = end;
                parser.position = end + 1;
                parser.stage = Stage::Value;
            } else {
                let kind = match input[end] {
                    b' ' | b'\t' => ErrorKind::SpaceBeforeColon,
                    _ => ErrorKind::FieldName,
                };
                return Err(parser.fail(kind, end));
            }
        }

        let end = values.next(parser.position);
        if end == filled {
            return parser.more(end).map(|_| None);
        }
        let after = match line_end(input, end, bare_lf) {
            Ok(Some(after)) => after,
            Ok(None) => return parser.more(end).map(|_| None),
            Err(kind) => return Err(parser.fail(kind, end)),
        };
        if end > parser.section_end {
            return Err(parser.fail(ErrorKind::HeaderSectionTooLarge, end));
        }
        if parser.stage == Stage::Fold {
            parser.unfold(input, parser.mark, end);
        } else {
            parser.push(input, parser.name_end + 1, end)?;
        }
        parser.mark = after;
        parser.position = after;
        parser.stage = Stage::Name;
    }
}

fn is_line_start(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Reads the line end at `at`: where the next line begins, or `None` if its second byte is not there yet.
#[inline(always)]
fn line_end(input: &[u8], at: usize, bare_lf: bool) -> Result<Option<usize>, ErrorKind> {
    match input[at] {
        b'\r' => match input.get(at + 1) {
            Some(b'\n') => Ok(Some(at + 2)),
            Some(_) => Err(ErrorKind::LineEnd),
            None => Ok(None),
        },
        b'\n' if bare_lf => Ok(Some(at + 1)),
        b'\n' => Err(ErrorKind::LineEnd),
        _ => Err(ErrorKind::FieldValue),
    }
}

/// A field line: name and value as they were sent, white space around the value cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, in the sender's spelling; compare it without regard to case.
    pub name: &'a [u8],
    /// The value; may hold bytes from 0x80 on (`obs-text`).
    pub value: &'a [u8],
}

/// A complete head: a view of the bytes it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    parser: &'a HeadParser,
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// The method: a token, case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &'a [u8] {
        self.parser.method.of(self.bytes)
    }

    /// The request-target as it was sent (RFC 9112 §3.2).
    pub fn target(&self) -> &'a [u8] {
        self.parser.target.of(self.bytes)
    }

    /// The version of the request.
    pub fn version(&self) -> Version {
        self.parser.version
    }

    /// The whole head, its final empty line included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The request line without its line end.
    pub fn request_line(&self) -> &'a [u8] {
        let end = self.parser.target.end as usize + " HTTP/1.1".len();
        &self.bytes[self.parser.method.start as usize..end]
    }

    /// How many field lines there are.
    pub fn field_count(&self) -> usize {
        self.parser.count
    }

    /// The field lines in the order they were sent.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = Field<'a>> + DoubleEndedIterator + Clone + use<'a> {
        let head = *self;
        self.parser.fields[..self.parser.count].iter().map(move |span| head.field(span))
    }

    /// The value of the first field of this name, compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of this name, in order.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }

    /// The first field of a kind that was noted while parsing.
    #[inline]
    pub(crate) fn known(&self, known: Known) -> Option<&'a [u8]> {
        match self.parser.known[known as usize] {
            ABSENT => None,
            index => Some(self.field(&self.parser.fields[usize::from(index)]).value),
        }
    }

    /// Was there more than one field of this kind?
    #[inline]
    pub(crate) fn repeated(&self, known: Known) -> bool {
        self.parser.repeated & 1 << known as u8 != 0
    }

    /// The values of every field of a known kind; costs nothing when there is none.
    pub(crate) fn all_known(&self, known: Known, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let first = self.known(known);
        let more = self.repeated(known).then(|| self.get_all(name).skip(1));
        first.into_iter().chain(more.into_iter().flatten())
    }

    #[inline]
    fn field(&self, span: &FieldSpan) -> Field<'a> {
        let value = if span.value.start & UNFOLDED == 0 {
            span.value.of(self.bytes)
        } else {
            Span { start: span.value.start & !UNFOLDED, end: span.value.end }.of(&self.parser.unfolded)
        };
        Field { name: span.name.of(self.bytes), value }
    }
}

mod fast;
#[cfg(test)]
mod tests;
