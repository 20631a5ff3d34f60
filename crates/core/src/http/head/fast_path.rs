//! The fast path: whole, well-formed lines.
//!
//! Nearly every head is complete when it is read, with a short request line and well-formed field lines. The fast path
//! reads as many of those as there are, and leaves the parser at the start of the first line of any other kind. It
//! refuses nothing and never asks for more input, so it can do without most of the state that the slow path has to
//! keep. It is correct as long as it accepts nothing that the slow path would not accept in the same way; the tests of
//! both paths and the fuzz target `split` check that.

use super::super::scan::{Class, Kernel, KernelTask, Token, Value, Visible, BLOCK};
use super::super::version::Version;
use super::state::{span, trim, FieldSpan, ParserState, Stage, UNFOLDED};

/// Reads well-formed lines until the head is complete or another kind of line begins.
pub(super) struct FastPath<'p, 'b> {
    pub(super) parser: &'p mut ParserState,
    pub(super) buffer: &'b [u8],
    pub(super) filled: usize,
}

/// The first position from `from` on that is outside the class, or `usize::MAX`. The position may lie after the input;
/// nothing is found in the last bytes of the buffer if they are less than a block.
#[inline(always)]
fn next<K: Kernel, C: Class>(kernel: K, buffer: &[u8], base: &mut usize, bits: &mut u64, from: usize) -> usize {
    let offset = from.wrapping_sub(*base);
    let mut at = from;
    if offset < BLOCK {
        let there = *bits >> offset;
        if there != 0 {
            return from + there.trailing_zeros() as usize;
        }
        at = *base + BLOCK;
    }
    while let Some(block) = buffer.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        let found = C::outside(kernel, block);
        if found != 0 {
            (*base, *bits) = (at, found);
            return at + found.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    usize::MAX
}

impl KernelTask for FastPath<'_, '_> {
    /// The length of the head, if all of it is well-formed.
    type Output = Option<usize>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Option<usize> {
        let FastPath { parser, buffer, filled } = self;
        // One view of the input, so that the bytes after it are never taken for input.
        let input = &buffer[..filled];
        // No position is within a block of this base, so the first look-up loads a block.
        let (mut token_base, mut token_bits) = (usize::MAX / 2, 0);

        if parser.position == 0 {
            let block = buffer.first_chunk::<BLOCK>()?;
            let outside = Visible::outside(kernel, block);
            let method_end = outside.trailing_zeros() as usize;
            let target_end = (outside & outside.wrapping_sub(1)).trailing_zeros() as usize;
            (token_base, token_bits) = (0, Token::outside(kernel, block));
            let version = input.get(target_end..)?.first_chunk::<11>()?;
            // " HTTP/1.1\r\n", as two numbers.
            let (start, end) = (u64::from_le_bytes(*version.first_chunk()?), &version[8..]);
            let well_formed = method_end != 0
                && target_end > method_end + 1
                && token_bits.trailing_zeros() as usize == method_end
                && block[method_end] == b' '
                && start == u64::from_le_bytes(*b" HTTP/1.")
                && matches!(end[0], b'0' | b'1')
                && end[1..] == *b"\r\n"
                && target_end + 9 <= parser.options.limits.request_line;
            if !well_formed {
                return None;
            }
            parser.method = span(0, method_end);
            parser.target = span(method_end + 1, target_end);
            parser.version = if end[0] == b'1' { Version::Http11 } else { Version::Http10 };
            parser.begin_fields(target_end + 11);
        } else if parser.stage != Stage::Name || parser.position != parser.mark {
            return None;
        }

        let (mut value_base, mut value_bits) = (usize::MAX / 2, 0);
        let mut line = parser.mark;
        let mut count = parser.count;
        let section_end = parser.section_end;
        let length = loop {
            let colon = next::<K, Token>(kernel, buffer, &mut token_base, &mut token_bits, line);
            let Some(&byte) = input.get(colon) else { break None };
            if byte != b':' || colon == line {
                let ends = colon == line && input.get(line + 1) == Some(&b'\n') && byte == b'\r';
                break (ends && line <= section_end).then_some(line + 2);
            }
            let end = next::<K, Value>(kernel, buffer, &mut value_base, &mut value_bits, colon + 1);
            // `end` is at most a block after the end of the input, or `usize::MAX`.
            if end >= section_end || input.get(end + 1) != Some(&b'\n') || input[end] != b'\r' {
                break None;
            }
            let Some(slot) = parser.fields.get_mut(count) else { break None };
            let (from, to) = trim(input, colon + 1, end);
            *slot = FieldSpan { name: span(line, colon), value: span(from, to) };
            parser.known.record(&input[line..colon], count);
            parser.raw_end = end as u32;
            count += 1;
            line = end + 2;
        };
        debug_assert!(line < UNFOLDED as usize);
        parser.count = count;
        parser.mark = line;
        parser.position = line;
        if let Some(length) = length {
            parser.stage = Stage::Done;
            parser.position = length;
        }
        length
    }
}
