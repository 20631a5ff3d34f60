//! httparse as the reference of the `differential` target, for the target and for the test that replays its seeds.

use amboss_core::fuzzing::Reference;

/// The maximum number of fields. More than the default limit of 100, so that the number of fields never causes a
/// difference.
const FIELDS: usize = 128;

/// Parses a head with httparse; `None` if httparse refuses it or needs more input.
pub fn parse(data: &[u8]) -> Option<Reference> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(data).ok()? else { return None };
    Some(Reference {
        length,
        method: request.method?.into(),
        target: request.path?.into(),
        minor: request.version?,
        fields: request.headers.iter().map(|field| (field.name.into(), field.value.into())).collect(),
    })
}
