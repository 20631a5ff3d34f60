//! URLs: a path from a rule and values, and the Location of a redirect.

use percent_encoding::percent_encode;

use super::converter::Converter;
use super::error::{RouteError, RouteErrorKind};
use super::rule::{is_dot_segment, End, Rule};
use super::segment::Segment;
use crate::percent::NOT_IN_PATHS;

/// Encodes a path that begins with exactly one slash, whatever its parts begin with. Two slashes would begin an
/// authority (RFC 3986 §4.2), and the URL would lead to another host.
pub(super) fn encode_path(script_name: &[u8], path: &[u8]) -> String {
    let joined = [script_name, path].concat();
    let first = joined.iter().position(|&byte| byte != b'/').unwrap_or(joined.len());
    format!("/{}", percent_encode(&joined[first..], NOT_IN_PATHS))
}

/// The Location of a redirect to another path of the same application, with the query as it was sent.
pub(super) fn location(script_name: &[u8], path: &str, query: &[u8]) -> Vec<u8> {
    let mut location = encode_path(script_name, path.as_bytes()).into_bytes();
    if !query.is_empty() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    location
}

/// The values for a URL. Each is used once; the others become the query.
pub(super) struct Values<'v> {
    pairs: &'v [(&'v str, &'v str)],
    used: Vec<bool>,
}

impl<'v> Values<'v> {
    pub(super) fn new(pairs: &'v [(&'v str, &'v str)]) -> Values<'v> {
        Values { pairs, used: vec![false; pairs.len()] }
    }

    fn take(&mut self, name: &str) -> Option<&'v str> {
        let index = (0..self.pairs.len()).find(|&index| !self.used[index] && self.pairs[index].0 == name)?;
        self.used[index] = true;
        Some(self.pairs[index].1)
    }

    /// The values that no rule took, as a query with its `?`; empty if there are none.
    pub(super) fn query(&self) -> String {
        let left = self.pairs.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(pair, _)| pair);
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(left).finish();
        if query.is_empty() {
            query
        } else {
            format!("?{query}")
        }
    }
}

impl Rule {
    /// Appends the path with these values, not encoded.
    pub(super) fn build(&self, values: &mut Values<'_>, path: &mut String) -> Result<(), RouteError> {
        let mut names = self.names.iter();
        let mut append = |segment: &Segment, path: &mut String| {
            let start = path.len() + 1;
            match segment {
                Segment::Static(text) => path.extend(["/", text]),
                Segment::Argument { converter, affixes } => {
                    let value = self.value(names.next().map_or("", String::as_str), converter, values)?;
                    let (prefix, suffix) = affixes.as_ref().map_or(("", ""), |text| (&text.prefix, &text.suffix));
                    path.extend(["/", prefix, value, suffix]);
                    if is_dot_segment(&path[start..]) {
                        return Err(self.dot_segment(value));
                    }
                }
            }
            Ok(())
        };
        for segment in &self.head {
            append(segment, path)?;
        }
        match &self.end {
            End::Below => return Ok(()),
            End::Exact { slash } => path.push_str(if *slash { "/" } else { "" }),
            End::Path { tail, slash } => {
                let whole = Segment::Argument { converter: Converter::Path, affixes: None };
                let start = path.len() + 1;
                append(&whole, path)?;
                let value = &path[start..];
                if value.split('/').any(is_dot_segment) {
                    return Err(self.dot_segment(value));
                }
                if value.ends_with('/') && *slash && tail.is_empty() {
                    let message = format!("{value:?} in {:?} ends with \"/\": remove it", self.text);
                    return Err(RouteError::new(RouteErrorKind::InvalidValue, message));
                }
                for segment in tail {
                    append(segment, path)?;
                }
                path.push_str(if *slash { "/" } else { "" });
            }
        }
        Ok(())
    }

    fn value<'v>(&self, name: &str, converter: &Converter, values: &mut Values<'v>) -> Result<&'v str, RouteError> {
        let value = values.take(name).ok_or_else(|| {
            let message = format!("a value for the argument {name:?} of {:?} is missing: add it", self.text);
            RouteError::new(RouteErrorKind::MissingValue, message)
        })?;
        if !converter.accepts(value) || (value.contains('/') && *converter != Converter::Path) {
            let message = format!("{value:?} can't be {name:?} in {:?}: give {converter}", self.text);
            return Err(RouteError::new(RouteErrorKind::InvalidValue, message));
        }
        Ok(value)
    }

    fn dot_segment(&self, value: &str) -> RouteError {
        let message = format!(
            "{value:?} makes a segment \".\" or \"..\" in {:?}, which clients remove: give another value",
            self.text
        );
        RouteError::new(RouteErrorKind::InvalidValue, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_never_leads_to_another_host() {
        for (script_name, path, expected) in [
            ("", "/a/", "/a/"),
            ("", "//evil.example/", "/evil.example/"),
            ("", "/\\evil.example/", "/%5Cevil.example/"),
            ("/", "/evil.example/", "/evil.example/"),
            ("//evil.example", "/", "/evil.example/"),
            ("api", "/a", "/api/a"),
            ("/api", "/ä b?c#d%\r\n", "/api/%C3%A4%20b%3Fc%23d%25%0D%0A"),
        ] {
            assert_eq!(location(script_name.as_bytes(), path, b""), expected.as_bytes(), "{script_name} {path}");
        }
        assert_eq!(location(b"", "/a/", b"next=//b&c=%20"), b"/a/?next=//b&c=%20", "the query is kept as it was sent");
    }
}
