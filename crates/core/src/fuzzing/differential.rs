//! `differential`: a head that this parser accepts is accepted by another parser with the same meaning.
//!
//! Request smuggling needs two parsers that read one message differently. The other parser is an argument, because this
//! crate has no dependencies.

use super::input::escape;
use crate::http::{Head, HeadOptions, HeadParser};

/// A head as the other parser reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// The length of the head in bytes.
    pub length: usize,
    /// The method.
    pub method: Vec<u8>,
    /// The request-target.
    pub target: Vec<u8>,
    /// The minor version: the *x* of `HTTP/1.x`.
    pub minor: u8,
    /// The names and values of the fields, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The reason why a difference is allowed; `None` if it is not.
fn allowed(ours: &Reference, theirs: Option<&Reference>) -> Option<&'static str> {
    // No allowed difference is known. Add the next one to the table, with its reason, instead of weakening the check.
    let table: [(&'static str, bool); 0] = [];
    let _ = (ours, theirs);
    table.into_iter().find(|(_, holds)| *holds).map(|(reason, _)| reason)
}

/// Compares the strict parser with `reference`, which returns `None` for a head that it refuses or that is incomplete.
///
/// Every head that the strict parser accepts is accepted by `reference`, with the same length, method, target, version
/// and fields.
pub fn differential(data: &[u8], reference: fn(&[u8]) -> Option<Reference>) {
    let mut parser = HeadParser::new(HeadOptions::default());
    let Ok(Some(length)) = parser.parse(data, data.len()) else { return };
    let ours = of(&parser.head(data), length);
    let theirs = reference(data);
    if theirs.as_ref() != Some(&ours) && allowed(&ours, theirs.as_ref()).is_none() {
        panic!("{}\nours:   {ours:?}\ntheirs: {theirs:?}", escape(data));
    }
}

fn of(head: &Head<'_>, length: usize) -> Reference {
    Reference {
        length,
        method: head.method().to_vec(),
        target: head.target().to_vec(),
        minor: u8::from(head.version() == crate::http::Version::Http11),
        fields: head.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect(),
    }
}
