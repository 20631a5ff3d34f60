//! A sans-I/O parser of `multipart/form-data` (RFC 7578, RFC 2046 §5.1.1): bytes in, events out.
//!
//! ```text
//! LineStart ─► Search ──delimiter──► AfterDelimiter ──► Padding ──► Headers ──┐
//!     ▲  └───────────delimiter────────────▲   │ "--"                          │
//!     │                                       └───────► AfterClose ──► Done   │
//!     └───────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The parser is as strict as browsers are: lines end with CR LF, and a line that begins with the boundary is a delimiter
//! or an error. What follows the last boundary is not read (the epilogue).

use std::ops::Range;

use super::boundary::{Delimiter, Found, Search};
use super::part_head::PartHead;
use crate::form::error::{FormError, FormErrorKind};
use crate::form::limits::FormLimits;

/// A parser of one body.
///
/// The caller keeps the bytes: each input of [`step`](Parser::step) begins with the first byte that was not consumed.
/// At most a header section or a part of a delimiter remains.
#[derive(Debug)]
pub(crate) struct Parser {
    delimiter: Delimiter,
    limits: FormLimits,
    state: State,
    search: Search,
    /// The number of parts that have begun. While it is 0, data is the preamble.
    parts: usize,
    /// The number of bytes of the preamble that were skipped.
    skipped: usize,
}

#[derive(Debug)]
enum State {
    /// At the start of the body, or after the empty line of a header section: a delimiter needs no CR LF here.
    LineStart,
    /// In data, which ends with a delimiter.
    Search,
    /// After a delimiter: `--` ends the body.
    AfterDelimiter,
    /// In the white space after a delimiter (transport padding).
    Padding,
    /// In a header section.
    Headers(SectionScan),
    /// After the `--` of the last delimiter: white space and a line end, or the end of the input.
    AfterClose,
    /// After the last delimiter line.
    Done,
}

/// The bytes of a header section that were examined.
#[derive(Clone, Copy, Debug, Default)]
struct SectionScan {
    examined: usize,
    line_start: usize,
    lines: usize,
}

/// What a step found.
#[derive(Debug)]
pub(crate) struct Step {
    /// The number of bytes that the caller need not keep.
    pub(crate) consumed: usize,
    /// `None` if more input is needed.
    pub(crate) event: Option<Event>,
}

/// A piece of the body. A part is `Part`, `Data` any number of times, and `PartEnd`.
#[derive(Debug)]
pub(crate) enum Event {
    /// A part begins. The second value is the length of its header section in bytes.
    Part(PartHead, usize),
    /// Data of the part: a range of the input.
    Data(Range<usize>),
    /// The part ends.
    PartEnd,
    /// The body is complete.
    End,
}

impl Parser {
    pub(crate) fn new(delimiter: Delimiter, limits: &FormLimits) -> Parser {
        let (state, search) = (State::LineStart, Search::default());
        Parser { delimiter, limits: limits.clone(), state, search, parts: 0, skipped: 0 }
    }

    /// Parses the input up to the next event.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, FormError> {
        let mut consumed = 0;
        loop {
            match self.advance(&input[consumed..])? {
                Advance::Moved(count) => consumed += count,
                Advance::NeedsMore(count) => return Ok(Step { consumed: consumed + count, event: None }),
                Advance::Event(count, mut event) => {
                    if let Event::Data(range) = &mut event {
                        *range = consumed + range.start..consumed + range.end;
                    }
                    return Ok(Step { consumed: consumed + count, event: Some(event) });
                }
            }
        }
    }

    /// Checks that the body is complete. `rest` are the bytes that were not consumed when the input ended.
    pub(crate) fn finish(&self, rest: &[u8]) -> Result<(), FormError> {
        match self.state {
            State::Done => Ok(()),
            State::AfterClose if rest.is_empty() => Ok(()),
            _ => Err(FormErrorKind::Truncated.into()),
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Advance, FormError> {
        match &mut self.state {
            State::LineStart => Ok(self.line_start(input)),
            State::Search => self.search(input),
            State::AfterDelimiter => Ok(match input {
                [] | [b'-'] => Advance::NeedsMore(0),
                [b'-', b'-', ..] => self.enter(State::AfterClose, 2),
                _ => self.enter(State::Padding, 0),
            }),
            State::Padding => self.line_end(input, State::Headers(SectionScan::default())),
            State::Headers(scan) => match find_section_end(scan, input, &self.limits)? {
                Some(end) => self.part(&input[..end]),
                None => Ok(Advance::NeedsMore(0)),
            },
            State::AfterClose => self.line_end(input, State::Done),
            State::Done => Ok(Advance::Event(0, Event::End)),
        }
    }

    fn line_start(&mut self, input: &[u8]) -> Advance {
        let expected = self.delimiter.dash_boundary();
        let common = input.len().min(expected.len());
        if input[..common] != expected[..common] {
            return self.enter(State::Search, 0);
        }
        if common < expected.len() {
            return Advance::NeedsMore(0);
        }
        self.after_delimiter(common)
    }

    fn search(&mut self, input: &[u8]) -> Result<Advance, FormError> {
        match self.search.run(&self.delimiter, input) {
            Found::Delimiter(0) => Ok(self.after_delimiter(self.delimiter.len())),
            Found::Nothing(0) => Ok(Advance::NeedsMore(0)),
            // After these bytes, the next call finds the delimiter again, with a bounded number of comparisons.
            Found::Delimiter(count) | Found::Nothing(count) if self.parts > 0 => {
                Ok(Advance::Event(count, Event::Data(0..count)))
            }
            Found::Delimiter(count) | Found::Nothing(count) => self.skip_preamble(count),
        }
    }

    /// Skips bytes before the first boundary in bulk, up to a limit (CVE-2024-53981: one log entry for each byte).
    fn skip_preamble(&mut self, count: usize) -> Result<Advance, FormError> {
        self.skipped += count;
        if self.skipped > self.limits.part_headers {
            return Err(FormErrorKind::Preamble(self.limits.part_headers).into());
        }
        Ok(Advance::Moved(count))
    }

    /// Consumes a delimiter. It ends the preamble or a part.
    fn after_delimiter(&mut self, length: usize) -> Advance {
        self.state = State::AfterDelimiter;
        if self.parts > 0 {
            Advance::Event(length, Event::PartEnd)
        } else {
            Advance::Moved(length)
        }
    }

    /// Skips white space; then a line end has to follow.
    fn line_end(&mut self, input: &[u8], next: State) -> Result<Advance, FormError> {
        let padding = input.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &input[padding..] {
            [] | [b'\r'] => Ok(Advance::NeedsMore(padding)),
            [b'\r', b'\n', ..] => Ok(self.enter(next, padding + 2)),
            _ => Err(FormErrorKind::Delimiter.into()),
        }
    }

    fn part(&mut self, section: &[u8]) -> Result<Advance, FormError> {
        if self.parts == self.limits.parts {
            return Err(FormErrorKind::TooManyParts(self.limits.parts).into());
        }
        self.parts += 1;
        let head = PartHead::parse(section, self.delimiter.dash_boundary())?;
        self.state = State::LineStart;
        Ok(Advance::Event(section.len(), Event::Part(head, section.len())))
    }

    fn enter(&mut self, state: State, consumed: usize) -> Advance {
        self.state = state;
        Advance::Moved(consumed)
    }
}

/// What a state did with the input, with the number of bytes that it consumed.
enum Advance {
    Moved(usize),
    NeedsMore(usize),
    Event(usize, Event),
}

/// The end of a header section, after its empty line. Each byte is examined once, however the input is cut.
fn find_section_end(scan: &mut SectionScan, input: &[u8], limits: &FormLimits) -> Result<Option<usize>, FormError> {
    let too_large = || FormError::from(FormErrorKind::PartHeadersTooLarge(limits.part_headers));
    while let Some(distance) = input[scan.examined..].iter().position(|&byte| byte == b'\n') {
        let end = scan.examined + distance + 1;
        let line = &input[scan.line_start..end];
        scan.examined = end;
        scan.line_start = end;
        if end > limits.part_headers {
            return Err(too_large());
        }
        match line.strip_suffix(b"\r\n") {
            Some([]) => return Ok(Some(end)),
            Some(_) => scan.lines += 1,
            // A LF alone, as text tools write it.
            None => return Err(FormErrorKind::PartHeader.into()),
        }
        if scan.lines > limits.headers_per_part {
            return Err(FormErrorKind::TooManyHeaders(limits.headers_per_part).into());
        }
    }
    scan.examined = input.len();
    if input.len() > limits.part_headers {
        return Err(too_large());
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
