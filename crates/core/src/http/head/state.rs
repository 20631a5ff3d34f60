//! The state of a parser between two calls, and the steps that both of its paths share.
//!
//! Invariants: `position` never passes a byte that was not classified; every span lies within the bytes that are parsed
//! so far.

use super::super::error::{Error, ErrorKind};
use super::super::version::Version;
use super::known::KnownFields;
use super::options::HeadOptions;

/// A range of bytes in the input. 32 bits are enough: [`ParserState::begin_fields`] bounds the header section.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldSpan {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// Marks a value that was folded: its span refers to `ParserState::unfolded` instead of the input.
pub(super) const UNFOLDED: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Method,
    Target,
    Version,
    Name,
    Value,
    /// The continuation line of a folded value.
    Fold,
    Done,
}

/// The part of a head that has been read so far.
#[derive(Clone, Debug)]
pub(super) struct ParserState {
    pub(super) options: HeadOptions,
    pub(super) stage: Stage,
    /// The next byte to classify.
    pub(super) position: usize,
    /// The first byte of the element that is being read.
    pub(super) mark: usize,
    /// The end of the name of the field whose value is being read.
    pub(super) name_end: usize,
    /// The end of the last value before trimming; a continuation line is appended there.
    pub(super) raw_end: u32,
    /// The last byte position that the limit allows for the header section.
    pub(super) section_end: usize,
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) version: Version,
    pub(super) fields: Box<[FieldSpan]>,
    pub(super) count: usize,
    pub(super) known: KnownFields,
    pub(super) unfolded: Vec<u8>,
}

impl ParserState {
    pub(super) fn new(options: HeadOptions) -> ParserState {
        ParserState {
            options,
            stage: Stage::Method,
            position: 0,
            mark: 0,
            name_end: 0,
            raw_end: 0,
            section_end: 0,
            method: Span::default(),
            target: Span::default(),
            version: Version::Http11,
            fields: vec![FieldSpan::default(); options.limits.fields.min(usize::from(u16::MAX))].into_boxed_slice(),
            count: 0,
            known: KnownFields::default(),
            unfolded: Vec::new(),
        }
    }

    /// Prepares the state for a new head.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.stage = Stage::Method;
        self.position = 0;
        self.mark = 0;
        self.count = 0;
        self.known.clear();
        self.unfolded.clear();
    }

    /// Records the field with the name `[mark, name_end)` and the value `[start, end)`, which is trimmed here.
    #[inline(always)]
    pub(super) fn push_field(&mut self, buffer: &[u8], start: usize, end: usize) -> Result<(), Error> {
        self.raw_end = end as u32;
        let (start, end) = trim(buffer, start, end);
        if self.count >= self.fields.len() {
            return Err(Error::new(ErrorKind::TooManyFields, self.mark));
        }
        self.known.record(&buffer[self.mark..self.name_end], self.count);
        self.fields[self.count] = FieldSpan { name: span(self.mark, self.name_end), value: span(start, end) };
        self.count += 1;
        Ok(())
    }

    /// Appends the continuation line `[start, end)` to the value of the last field.
    #[cold]
    pub(super) fn append_fold(&mut self, buffer: &[u8], start: usize, end: usize) {
        let last = &mut self.fields[self.count - 1];
        if last.value.start & UNFOLDED == 0 {
            // From the first byte of the value to its untrimmed end: white space is kept, CR LF is removed.
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

    /// Makes an error. If the position is beyond a limit, the error is that limit's, however the input was cut.
    #[cold]
    pub(super) fn fail(&self, kind: ErrorKind, position: usize) -> Error {
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

    /// Records that more input is needed from `position` on. Returns an error if the input is beyond a limit already.
    #[cold]
    pub(super) fn need_more(&mut self, position: usize) -> Result<bool, Error> {
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

    /// Checks the length of each field.
    #[cold]
    pub(super) fn check_fields(&self) -> Result<(), Error> {
        let too_long = |field: &&FieldSpan| {
            let (name, value) = (field.name.end - field.name.start, field.value.end - (field.value.start & !UNFOLDED));
            (name + value) as usize > self.options.limits.field
        };
        match self.fields[..self.count].iter().find(too_long) {
            Some(field) => Err(Error::new(ErrorKind::FieldTooLong, field.name.start as usize)),
            None => Ok(()),
        }
    }

    /// Moves on from the request line to the header section, which begins at `start`.
    #[inline(always)]
    pub(super) fn begin_fields(&mut self, start: usize) {
        self.section_end = start.saturating_add(self.options.limits.header_section).min(UNFOLDED as usize - 1);
        self.mark = start;
        self.position = start;
        self.stage = Stage::Name;
    }
}

#[inline(always)]
pub(super) fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// Removes optional white space at both ends of a field value (RFC 9110 §5.6.3).
#[inline(always)]
pub(super) fn trim(buffer: &[u8], start: usize, end: usize) -> (usize, usize) {
    // SP and HTAB are the only bytes up to SP that a value may hold, so one comparison finds both. Nearly every sender
    // writes a single space in front of the value.
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
