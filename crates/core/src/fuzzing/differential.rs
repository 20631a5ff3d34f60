//! `differential`: what is accepted here, another parser accepts with the same meaning.
//!
//! Two parsers that read one message differently are how requests are smuggled. The other parser is handed in, since
//! this crate depends on none.

use super::show;
use crate::http::{Head, HeadOptions, HeadParser};

/// What the other parser made of a head.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// The head's length.
    pub length: usize,
    /// The method.
    pub method: Vec<u8>,
    /// The request-target.
    pub target: Vec<u8>,
    /// `HTTP/1.x`
    pub minor: u8,
    /// Names and values, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Every difference that may be, with its reason. Nothing else may.
fn allowed(ours: &Reference, theirs: Option<&Reference>) -> Option<&'static str> {
    // No difference is known. The table stays, so that the next one gets a reason instead of a weaker check.
    let table: [(&'static str, bool); 0] = [];
    let _ = (ours, theirs);
    table.into_iter().find(|(_, holds)| *holds).map(|(reason, _)| reason)
}

/// Whatever the strict parser accepts, `reference` accepts with the same length, method, target, version and fields.
///
/// `reference` returns `None` for what it refuses or finds incomplete.
pub fn differential(data: &[u8], reference: fn(&[u8]) -> Option<Reference>) {
    let mut parser = HeadParser::new(HeadOptions::default());
    let Ok(Some(length)) = parser.parse(data, data.len()) else { return };
    let ours = of(&parser.head(data), length);
    let theirs = reference(data);
    if theirs.as_ref() != Some(&ours) && allowed(&ours, theirs.as_ref()).is_none() {
        panic!("{}\nours:   {ours:?}\ntheirs: {theirs:?}", show(data));
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
