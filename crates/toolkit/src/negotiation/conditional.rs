//! Preconditions in the order of RFC 9110 §13.2.2.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use amboss_core::Environ;

use super::etag::{list_has, Comparison, ETag};

/// What distinguishes the current version of a representation from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag.
    pub etag: Option<ETag>,
    /// When the representation was last changed, in seconds since 1970.
    pub last_modified: Option<u64>,
}

/// The field values of a request that make it conditional or partial.
#[derive(Clone, Debug, Default)]
pub struct Conditions<'a> {
    /// If-Match.
    pub if_match: Option<Cow<'a, [u8]>>,
    /// If-None-Match.
    pub if_none_match: Option<Cow<'a, [u8]>>,
    /// If-Modified-Since.
    pub if_modified_since: Option<Cow<'a, [u8]>>,
    /// If-Unmodified-Since.
    pub if_unmodified_since: Option<Cow<'a, [u8]>>,
    /// If-Range.
    pub if_range: Option<Cow<'a, [u8]>>,
    /// Range.
    pub range: Option<Cow<'a, [u8]>>,
}

/// What the preconditions of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request is answered as if it had no preconditions.
    Proceed,
    /// 304: the client has the current version.
    NotModified,
    /// 412: the client expected another version.
    PreconditionFailed,
}

/// For how many seconds after a change its date does not distinguish it from another one (RFC 9110 §8.8.2.2): an
/// HTTP-date counts whole seconds, and some file systems count two of them (FAT).
const DATE_GRANULARITY: u64 = 2;

impl<'a> Conditions<'a> {
    /// Reads the fields of a request.
    pub fn of(environ: &'a Environ<'_>) -> Conditions<'a> {
        let get = |key: &str| environ.get(key).map(Cow::from);
        let range = get("HTTP_RANGE");
        Conditions {
            if_match: get("HTTP_IF_MATCH"),
            if_none_match: get("HTTP_IF_NONE_MATCH"),
            if_modified_since: get("HTTP_IF_MODIFIED_SINCE"),
            if_unmodified_since: get("HTTP_IF_UNMODIFIED_SINCE"),
            if_range: range.as_ref().and_then(|_| get("HTTP_IF_RANGE")),
            range,
        }
    }

    /// Evaluates the preconditions for a representation that exists (RFC 9110 §13.2.2). It is called only if the answer
    /// without preconditions is 2xx.
    pub fn evaluate(&self, method: &[u8], current: &Validators) -> Outcome {
        // RFC 9110 §13.2.1: these methods select no representation.
        if matches!(method, b"CONNECT" | b"OPTIONS" | b"TRACE") {
            return Outcome::Proceed;
        }
        let is_safe = matches!(method, b"GET" | b"HEAD");
        // Steps 1 and 2.
        let may_proceed = match (&self.if_match, &self.if_unmodified_since) {
            (Some(list), _) => list_has(list, current.etag.as_ref(), Comparison::Strong),
            (None, Some(date)) => is_unmodified_since(date, current).unwrap_or(true),
            (None, None) => true,
        };
        if !may_proceed {
            return Outcome::PreconditionFailed;
        }
        // Steps 3 and 4.
        let is_current = match (&self.if_none_match, &self.if_modified_since) {
            (Some(list), _) => list_has(list, current.etag.as_ref(), Comparison::Weak),
            (None, Some(date)) if is_safe => is_unmodified_since(date, current).unwrap_or(false),
            _ => false,
        };
        match (is_current, is_safe) {
            (false, _) => Outcome::Proceed,
            (true, true) => Outcome::NotModified,
            (true, false) => Outcome::PreconditionFailed,
        }
    }

    /// The Range field, if it applies: only for GET (RFC 9110 §14.2), and only if If-Range names the current version by
    /// a strong tag or its exact date (RFC 9110 §13.1.5). The date of a change that was made a moment ago counts as none:
    /// another change in the same second would have the same date, and the client would join parts of two versions.
    pub fn applicable_range(&self, method: &[u8], current: &Validators, now: SystemTime) -> Option<&[u8]> {
        let range = self.range.as_deref().filter(|_| method == b"GET")?;
        let Some(condition) = self.if_range.as_deref() else { return Some(range) };
        let is_current = if condition.contains(&b'"') {
            let tag = ETag::parse(condition.trim_ascii());
            tag.zip(current.etag.as_ref()).is_some_and(|(asked, current)| asked.strong_eq(current))
        } else {
            let is_strong = |date: u64| seconds_since_1970(now).is_some_and(|now| date + DATE_GRANULARITY <= now);
            seconds(condition).is_some_and(|asked| Some(asked) == current.last_modified && is_strong(asked))
        };
        is_current.then_some(range)
    }
}

/// Whether the representation has not been changed after this date; `None` if that can't be said, because the date is
/// malformed or the representation has none: then the field is ignored (RFC 9110 §13.1.3 and §13.1.4).
fn is_unmodified_since(date: &[u8], current: &Validators) -> Option<bool> {
    Some(current.last_modified? <= seconds(date)?)
}

/// Reads an HTTP-date, in any of the three formats of RFC 9110 §5.6.7.
fn seconds(date: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    seconds_since_1970(time)
}

/// The whole seconds from 1970 to this time; `None` for earlier ones, which an HTTP-date can't be trusted with.
pub fn seconds_since_1970(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Outcome::{NotModified, PreconditionFailed, Proceed};
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const EXACT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn current() -> Validators {
        Validators { etag: Some(ETag::strong("a")), last_modified: Some(784_111_777) }
    }

    fn conditions(fields: &[(&str, &'static str)]) -> Conditions<'static> {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            let slot = match *name {
                "If-Match" => &mut conditions.if_match,
                "If-None-Match" => &mut conditions.if_none_match,
                "If-Modified-Since" => &mut conditions.if_modified_since,
                "If-Unmodified-Since" => &mut conditions.if_unmodified_since,
                "If-Range" => &mut conditions.if_range,
                "Range" => &mut conditions.range,
                _ => unreachable!("{name}"),
            };
            *slot = Some(Cow::Borrowed(value.as_bytes()));
        }
        conditions
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
        type Case = (&'static [u8], &'static [(&'static str, &'static str)], Outcome);
        let cases: &[Case] = &[
            (b"GET", &[], Proceed),
            (b"GET", &[("If-Match", "\"a\"")], Proceed),
            (b"GET", &[("If-Match", "\"b\", \"a\"")], Proceed),
            (b"GET", &[("If-Match", "*")], Proceed),
            (b"PUT", &[("If-Match", "\"b\"")], PreconditionFailed),
            (b"PUT", &[("If-Match", "W/\"a\"")], PreconditionFailed),
            (b"PUT", &[("If-Match", "garbage")], PreconditionFailed),
            (b"PUT", &[("If-Match", "")], PreconditionFailed),
            (b"GET", &[("If-Unmodified-Since", EXACT)], Proceed),
            (b"GET", &[("If-Unmodified-Since", AFTER)], Proceed),
            (b"GET", &[("If-Unmodified-Since", BEFORE)], PreconditionFailed),
            (b"GET", &[("If-Unmodified-Since", "yesterday")], Proceed),
            // If-Unmodified-Since is ignored beside If-Match.
            (b"PUT", &[("If-Match", "\"a\""), ("If-Unmodified-Since", BEFORE)], Proceed),
            (b"GET", &[("If-None-Match", "\"a\"")], NotModified),
            (b"HEAD", &[("If-None-Match", "W/\"a\"")], NotModified),
            (b"GET", &[("If-None-Match", "*")], NotModified),
            (b"PUT", &[("If-None-Match", "*")], PreconditionFailed),
            (b"GET", &[("If-None-Match", "\"b\"")], Proceed),
            (b"GET", &[("If-None-Match", "garbage")], Proceed),
            (b"GET", &[("If-Modified-Since", BEFORE)], Proceed),
            (b"GET", &[("If-Modified-Since", EXACT)], NotModified),
            (b"GET", &[("If-Modified-Since", AFTER)], NotModified),
            (b"GET", &[("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (b"GET", &[("If-Modified-Since", "Sun Nov  6 08:49:37 1994")], NotModified),
            (b"GET", &[("If-Modified-Since", "784111777")], Proceed),
            (b"POST", &[("If-Modified-Since", AFTER)], Proceed),
            // If-Modified-Since is ignored beside If-None-Match.
            (b"GET", &[("If-None-Match", "\"b\""), ("If-Modified-Since", AFTER)], Proceed),
            // The first two steps come before the next two.
            (b"GET", &[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")], PreconditionFailed),
            (b"GET", &[("If-Match", "\"a\""), ("If-None-Match", "\"a\"")], NotModified),
            (b"OPTIONS", &[("If-Match", "\"b\"")], Proceed),
        ];
        for (method, fields, expected) in cases {
            let outcome = conditions(fields).evaluate(method, &current());
            assert_eq!(outcome, *expected, "{} {fields:?}", method.escape_ascii());
        }
    }

    #[test]
    fn a_representation_without_validators_is_never_current() {
        let none = Validators::default();
        for (name, value, expected) in [
            ("If-Match", "\"a\"", PreconditionFailed),
            ("If-Match", "*", Proceed),
            ("If-None-Match", "\"a\"", Proceed),
            ("If-None-Match", "*", NotModified),
            ("If-Modified-Since", AFTER, Proceed),
            ("If-Unmodified-Since", BEFORE, Proceed),
        ] {
            assert_eq!(conditions(&[(name, value)]).evaluate(b"GET", &none), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_range_applies_only_to_the_version_that_the_client_has() {
        let changed = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let now = changed + Duration::from_secs(2);
        let weak = Validators { etag: Some(ETag::weak("a")), ..current() };
        for (value, applies) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("\"a\", \"b\"", false),
            ("*", false),
            (EXACT, true),
            (BEFORE, false),
            (AFTER, false),
            ("", false),
        ] {
            let conditions = conditions(&[("Range", "bytes=0-1"), ("If-Range", value)]);
            assert_eq!(conditions.applicable_range(b"GET", &current(), now).is_some(), applies, "{value}");
            assert_eq!(conditions.applicable_range(b"HEAD", &current(), now), None);
            if value.contains('"') {
                assert_eq!(
                    conditions.applicable_range(b"GET", &weak, now),
                    None,
                    "a weak tag can't combine parts: {value}"
                );
            }
        }
        for (age, applies) in [(0, false), (1999, false), (2000, true)] {
            let conditions = conditions(&[("Range", "bytes=0-1"), ("If-Range", EXACT)]);
            let range = conditions.applicable_range(b"GET", &current(), changed + Duration::from_millis(age));
            assert_eq!(range.is_some(), applies, "the date of a change {age} ms ago");
        }
        assert!(conditions(&[("Range", "bytes=0-1")]).applicable_range(b"GET", &weak, now).is_some());
    }
}
