//! A complete head: request line and fields as views of the bytes that they were parsed from.

use super::super::leniency::Leniency;
use super::super::target::Target;
use super::super::version::Version;
use super::known::Known;
use super::state::{FieldSpan, ParserState, Span, UNFOLDED};

/// A field line: name and value as they were sent, without the white space around the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name in the sender's spelling; compare it without regard to case.
    pub name: &'a [u8],
    /// The value; it may hold bytes from 0x80 on (`obs-text`).
    pub value: &'a [u8],
}

/// A complete head: a view of the bytes that it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub(super) parser: &'a ParserState,
    pub(super) bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// The method, a case-sensitive token (RFC 9110 §9.1).
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

    /// The number of field lines.
    pub fn field_count(&self) -> usize {
        self.parser.count
    }

    /// The field lines, in the order in which they were sent.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = Field<'a>> + DoubleEndedIterator + Clone + use<'a> {
        let head = *self;
        self.parser.fields[..self.parser.count].iter().map(move |span| head.field(span))
    }

    /// The value of the first field with this name; names are compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields with this name, in order.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }

    /// The host that the client asks for, with its port: the authority of a target in absolute form, else the first Host
    /// field (RFC 9112 §3.2.2). Empty if there is neither.
    pub fn host(&self) -> &'a [u8] {
        let authority = match self.target().first() {
            Some(b'/') => None,
            _ => Target::of(self, Leniency::default()).ok().and_then(|target| target.authority),
        };
        authority.or_else(|| self.known(Known::Host)).unwrap_or_default()
    }

    /// The value of the first field of a known kind.
    #[inline(always)]
    pub(crate) fn known(&self, known: Known) -> Option<&'a [u8]> {
        self.parser.known.first(known).map(|index| self.field(&self.parser.fields[index]).value)
    }

    /// Whether there is a field of a known kind.
    #[inline]
    pub(crate) fn has(&self, known: Known) -> bool {
        self.parser.known.has(known)
    }

    /// Whether there is a field on which the framing depends.
    #[inline]
    pub(crate) fn has_framing(&self) -> bool {
        self.parser.known.has_any(Known::FRAMING)
    }

    /// Whether there is more than one field of a known kind.
    #[inline]
    pub(crate) fn repeated(&self, known: Known) -> bool {
        self.parser.known.is_repeated(known)
    }

    /// The values of all fields of a known kind; costs nothing if there is none.
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
