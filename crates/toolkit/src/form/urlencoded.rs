//! `application/x-www-form-urlencoded`
//! ([URL Standard §5](https://url.spec.whatwg.org/#application/x-www-form-urlencoded)).

use super::error::{FormError, FormErrorKind};
use super::limits::FormLimits;
use super::source::{check_total, Source};
use super::FormData;

/// Reads a form from a body of this type.
pub(super) fn parse(source: Source<'_>, limits: &FormLimits) -> Result<FormData, FormError> {
    let too_large = || FormError::from(FormErrorKind::FieldsTooLarge(limits.fields_memory));
    // A byte takes at most three bytes as %XX, and each pair has `=` and `&`: a longer body is beyond a limit.
    let longest = limits.fields_memory.saturating_mul(3).saturating_add(limits.parts.saturating_mul(2));
    let body = source.read_all(longest).map_err(FormErrorKind::Input)?.ok_or_else(too_large)?;
    check_total(body.len() as u64, limits)?;
    let mut form = FormData::default();
    let mut memory = 0;
    for (name, value) in form_urlencoded::parse(&body) {
        if form.fields.len() == limits.parts {
            return Err(FormErrorKind::TooManyParts(limits.parts).into());
        }
        memory += name.len() + value.len();
        if memory > limits.fields_memory {
            return Err(too_large());
        }
        form.fields.add(name, value);
    }
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_bytes(body: &[u8], limits: &FormLimits) -> Result<Vec<(String, String)>, String> {
        let stream = parse(Source::Stream(&mut &*body), limits);
        let form = parse(Source::Bytes(body), limits);
        assert_eq!(format!("{stream:?}"), format!("{form:?}"));
        form.map(|form| form.fields.into_iter().collect()).map_err(|error| format!("{:?}", error.kind()))
    }

    #[test]
    fn fields_count_against_the_limits() {
        let mut limits = FormLimits::default();
        (limits.parts, limits.fields_memory) = (2, 6);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse_bytes(b"a=%42%43&d=%45%46", &limits), Ok(vec![pair("a", "BC"), pair("d", "EF")]));
        assert_eq!(parse_bytes(b"a=1&b=2&c=3", &limits), Err("TooManyParts(2)".into()));
        assert_eq!(parse_bytes(b"a=123456", &limits), Err("FieldsTooLarge(6)".into()));
        assert_eq!(parse_bytes(&[b'&'; 100], &limits), Err("FieldsTooLarge(6)".into()));
        limits.total = Some(4);
        assert_eq!(parse_bytes(b"a=123", &limits), Err("BodyTooLarge(4)".into()));
        limits.total = None;
        // Each replaced byte takes three bytes of memory.
        assert_eq!(parse_bytes(b"a=%ff%ff", &limits), Err("FieldsTooLarge(6)".into()));
    }

    #[test]
    fn cve_2023_25577_the_number_of_fields_is_limited() {
        let body = "a&".repeat(1001);
        let limits = FormLimits::default();
        assert_eq!(parse_bytes(body.as_bytes(), &limits), Err("TooManyParts(1000)".into()));
        assert_eq!(parse_bytes(&body.as_bytes()[2..], &limits).map(|fields| fields.len()), Ok(1000));
    }
}
