//! The slow path: any line, complete or not, well-formed or not. It refuses malformed lines and resumes incomplete
//! ones.

use std::marker::PhantomData;

use super::super::error::{Error, ErrorKind};
use super::super::scan::{Class, Kernel, KernelTask, Token, Value, Visible, BLOCK};
use super::super::version::Version;
use super::state::{span, ParserState, Stage};

/// The positions of the bytes outside one class, block by block; each block is classified once.
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

    /// The first position from `from` on whose bit is set, or `filled`. `from` must not decrease from call to call.
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

/// Copies the end of a buffer, which is shorter than a block, into a block of zeros.
#[cold]
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Reads lines of any kind until the head is complete, malformed or in need of more input.
pub(super) struct SlowPath<'p, 'b> {
    pub(super) parser: &'p mut ParserState,
    pub(super) buffer: &'b [u8],
    pub(super) filled: usize,
}

impl KernelTask for SlowPath<'_, '_> {
    type Output = Result<Option<usize>, Error>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let SlowPath { parser, buffer, filled } = self;
        // The method is checked from its start, once its end is known.
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

/// Reads the request line; `false` if more input is needed.
#[inline(always)]
fn request_line<K: Kernel>(
    parser: &mut ParserState,
    kernel: K,
    tokens: &mut Bits<'_, K, Token>,
    buffer: &[u8],
    filled: usize,
) -> Result<bool, Error> {
    // One view of the input, so that one bounds check covers every later index.
    let input = &buffer[..filled];
    let bare_lf = parser.options.leniency.bare_lf;
    let mut visible = Bits::<K, Visible>::new(kernel, buffer, filled, parser.position);

    if parser.stage == Stage::Method {
        let mut space = visible.next(parser.position);
        // RFC 9112 §2.2: empty lines before the request line are ignored.
        while space == parser.mark && space < filled && is_line_start(input[space]) {
            let after = match line_end(input, space, bare_lf) {
                Ok(Some(after)) => after,
                Ok(None) => return parser.need_more(space),
                Err(kind) => return Err(parser.fail(kind, space)),
            };
            parser.mark = after;
            parser.position = after;
            space = visible.next(after);
        }
        if space == filled {
            return parser.need_more(space);
        }
        let end = tokens.next(parser.mark);
        if end != space || input[space] != b' ' || space == parser.mark {
            let position = end.min(space);
            let kind = match input[position] {
                b'\r' | b'\n' => ErrorKind::RequestLine,
                _ => ErrorKind::Method,
            };
            // The limit applies to the position where scanning stopped, not to an earlier byte that was found.
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
            return parser.need_more(space);
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
        return parser.need_more(end);
    }
    let after = match line_end(input, end, bare_lf) {
        Ok(Some(after)) => after,
        Ok(None) => return parser.need_more(end),
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

/// Reads the header section; the length of the head once its end is present.
#[inline(always)]
fn fields<K: Kernel>(
    parser: &mut ParserState,
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
                return parser.need_more(end).map(|_| None);
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
                        Ok(None) => return parser.need_more(start).map(|_| None),
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
            return parser.need_more(end).map(|_| None);
        }
        let after = match line_end(input, end, bare_lf) {
            Ok(Some(after)) => after,
            Ok(None) => return parser.need_more(end).map(|_| None),
            Err(kind) => return Err(parser.fail(kind, end)),
        };
        if end > parser.section_end {
            return Err(parser.fail(ErrorKind::HeaderSectionTooLarge, end));
        }
        if parser.stage == Stage::Fold {
            parser.append_fold(input, parser.mark, end);
        } else {
            parser.push_field(input, parser.name_end + 1, end)?;
        }
        parser.mark = after;
        parser.position = after;
        parser.stage = Stage::Name;
    }
}

fn is_line_start(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Reads the line end at `at`: the start of the next line, or `None` if the second byte is not present yet.
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
