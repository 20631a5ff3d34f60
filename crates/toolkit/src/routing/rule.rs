//! A rule: the pattern of a path, read once and matched in time that is linear in the length of the path.
//!
//! ```text
//! /files/<lang>/<path:rest>/edit/      head: files, <lang>   rest: yes   tail: edit   slash: yes
//! ```

use super::converter::Converter;
use super::error::{RouteError, RouteErrorKind};
use super::segment::{Segment, Spans, Weight};

/// The pattern of a path.
#[derive(Debug)]
pub(super) struct Rule {
    /// The rule as it was written.
    pub(super) text: String,
    /// The names of the arguments, from left to right.
    pub(super) names: Vec<String>,
    /// The segments before the argument of several segments.
    pub(super) head: Vec<Segment>,
    pub(super) end: End,
}

/// What follows the first segments of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The end of the path, with or without a slash.
    Exact { slash: bool },
    /// An argument of one or more segments, further segments, and the end of the path.
    Path { tail: Vec<Segment>, slash: bool },
    /// Anything or nothing, for a mounted application.
    Below,
}

/// How a rule matches a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// As a whole.
    Whole,
    /// As a whole, after a slash has been added.
    SlashMissing,
    /// Up to this byte, at which the path of the mounted application begins.
    Prefix(usize),
}

impl Rule {
    /// Reads the rule of a handler.
    pub(super) fn parse(text: &str) -> Result<Rule, RouteError> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(malformed(text, "begin it with \"/\""));
        };
        let (path, slash) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, path.is_empty()),
        };
        let mut rule = Rule::parse_segments(text, path)?;
        match &mut rule.end {
            End::Path { slash: end, .. } => *end = slash,
            end => *end = End::Exact { slash },
        }
        Ok(rule)
    }

    /// Reads the prefix of a mounted application. A slash at its end has no meaning.
    pub(super) fn parse_prefix(text: &str) -> Result<Rule, RouteError> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let path = match path.strip_prefix('/') {
            None if !path.is_empty() => return Err(malformed(text, "begin it with \"/\"")),
            path => path.unwrap_or_default(),
        };
        let rule = Rule::parse_segments(text, path)?;
        match rule.end {
            End::Path { .. } => Err(malformed(text, "a prefix has no argument of several segments; use <name>")),
            _ => Ok(rule),
        }
    }

    fn parse_segments(text: &str, path: &str) -> Result<Rule, RouteError> {
        if text.contains(['?', '#']) {
            return Err(malformed(text, "it matches the path alone; leave out the query and the fragment"));
        }
        if text.contains("//") {
            return Err(malformed(text, "write single slashes; a request with \"//\" is redirected"));
        }
        let mut rule = Rule { text: text.to_owned(), names: Vec::new(), head: Vec::new(), end: End::Below };
        if path.is_empty() {
            return Ok(rule);
        }
        for part in path.split('/') {
            let segment = Segment::parse(part, text, &mut rule.names)?;
            let is_path = matches!(&segment, Segment::Argument { converter: Converter::Path, .. });
            match (&segment, &mut rule.end) {
                // Clients remove dot segments before they send a path (RFC 3986 §5.2.4).
                (Segment::Static(part), _) if is_dot_segment(part) => {
                    return Err(malformed(text, "no client sends the segments \".\" and \"..\"; leave them out"));
                }
                (Segment::Argument { prefix, suffix, .. }, _)
                    if is_path && !(prefix.is_empty() && suffix.is_empty()) =>
                {
                    return Err(malformed(text, "a <path:…> argument takes whole segments; remove the text beside it"));
                }
                (_, End::Path { .. }) if is_path => {
                    return Err(malformed(text, "a second <path:…> argument is ambiguous; remove one"));
                }
                (_, End::Path { tail, .. }) => tail.push(segment),
                (_, end) if is_path => *end = End::Path { tail: Vec::new(), slash: false },
                _ => rule.head.push(segment),
            }
        }
        Ok(rule)
    }

    /// Matches a path, which is empty or begins with a slash, and notes the arguments in `spans`.
    pub(super) fn matches(&self, path: &str, spans: &mut Spans) -> Option<Fit> {
        let (mut at, mut argument) = (0, 0);
        for segment in &self.head {
            let rest = path[at..].strip_prefix('/')?;
            let length = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
            if !segment.matches(&rest[..length], at + 1, spans, &mut argument) {
                return None;
            }
            at += 1 + length;
        }
        let rest = &path[at..];
        match &self.end {
            End::Exact { slash } => match (rest, slash) {
                ("", false) | ("/", true) => Some(Fit::Whole),
                ("", true) => Some(Fit::SlashMissing),
                _ => None,
            },
            End::Below => (rest.is_empty() || rest.starts_with('/')).then_some(Fit::Prefix(at)),
            End::Path { tail, slash } => match_rest(rest.strip_prefix('/')?, at + 1, tail, *slash, spans, argument),
        }
    }

    /// The place of the rule among others that match the same path: the lowest is tried first.
    pub(super) fn weight(&self) -> (Vec<Weight>, bool) {
        let mut weights: Vec<Weight> = self.head.iter().map(Segment::weight).collect();
        let slash = match &self.end {
            End::Exact { slash } => *slash,
            End::Path { tail, slash } => {
                weights.push(Weight::PATH);
                weights.extend(tail.iter().map(Segment::weight));
                weights.push(Weight::END);
                *slash
            }
            End::Below => {
                weights.push(Weight::BELOW);
                false
            }
        };
        (weights, slash)
    }

    /// The rule without the names of its arguments: rules with the same pattern match the same paths.
    pub(super) fn pattern(&self) -> String {
        let mut pattern: String = self.head.iter().map(|segment| format!("/{}", segment.pattern())).collect();
        match &self.end {
            End::Exact { slash } => pattern.push_str(if *slash { "/" } else { "" }),
            End::Below => pattern.push_str("/<Below>"),
            End::Path { tail, slash } => {
                pattern.push_str("/<Path>");
                pattern.extend(tail.iter().map(|segment| format!("/{}", segment.pattern())));
                // Without further segments, the argument takes the slash, too.
                pattern.push_str(if *slash && !tail.is_empty() { "/" } else { "" });
            }
        }
        pattern
    }
}

/// Matches what follows the first segments of a rule: one or more segments for the argument, and the tail from its end.
fn match_rest(
    body: &str,
    start: usize,
    tail: &[Segment],
    slash: bool,
    spans: &mut Spans,
    argument: usize,
) -> Option<Fit> {
    let (mut value, fit) = match body.strip_suffix('/') {
        Some(body) if slash => (body, Fit::Whole),
        _ if slash => (body, Fit::SlashMissing),
        _ => (body, Fit::Whole),
    };
    let arguments = tail.iter().filter(|segment| matches!(segment, Segment::Argument { .. })).count();
    let mut behind = argument + 1 + arguments;
    for segment in tail.iter().rev() {
        let (before, part) = value.rsplit_once('/')?;
        // `matches` counts upwards, and the tail is matched from its end.
        behind -= usize::from(matches!(segment, Segment::Argument { .. }));
        if !segment.matches(part, start + before.len() + 1, spans, &mut behind.clone()) {
            return None;
        }
        value = before;
    }
    spans[argument] = (start as u32, (start + value.len()) as u32);
    let ends_cleanly = !value.ends_with('/') || (tail.is_empty() && !slash);
    (Converter::Path.accepts(value) && ends_cleanly).then_some(fit)
}

/// Whether clients resolve the segment before they send a path (RFC 3986 §5.2.4).
pub(super) fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn malformed(rule: &str, advice: &str) -> RouteError {
    RouteError::new(RouteErrorKind::MalformedRule, format!("the rule {rule:?} is malformed: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::segment::MAX_ARGUMENTS;

    fn arguments(rule: &Rule, path: &str) -> Option<(Fit, Vec<String>)> {
        let mut spans = [(0, 0); MAX_ARGUMENTS];
        let fit = rule.matches(path, &mut spans)?;
        let values = spans[..rule.names.len()].iter();
        Some((fit, values.map(|&(first, end)| path[first as usize..end as usize].to_owned()).collect()))
    }

    #[test]
    fn a_rule_matches_its_paths_only() {
        use Fit::{SlashMissing, Whole};
        let table: &[(&str, &str, Option<(Fit, &[&str])>)] = &[
            ("/", "/", Some((Whole, &[]))),
            ("/", "", Some((SlashMissing, &[]))),
            ("/", "//", None),
            ("/a", "/a", Some((Whole, &[]))),
            ("/a", "/a/", None),
            ("/a", "a", None),
            ("/a/", "/a/", Some((Whole, &[]))),
            ("/a/", "/a", Some((SlashMissing, &[]))),
            ("/a/", "/a//", None),
            ("/<x>", "/ä b", Some((Whole, &["ä b"]))),
            ("/<x>", "/", None),
            ("/<x>/b", "//b", None),
            ("/<x>/<int:y>/", "/é/5", Some((SlashMissing, &["é", "5"]))),
            ("/<x>/<int:y>/", "/é/x/", None),
            ("/v<int:n>.html", "/v12.html", Some((Whole, &["12"]))),
            ("/v<int:n>.html", "/v.html", None),
            ("/aba<x>aba", "/aba", None),
            ("/aba<x>aba", "/abaaba", None),
            ("/f/<path:p>", "/f/a/b", Some((Whole, &["a/b"]))),
            ("/f/<path:p>", "/f/a//b/", Some((Whole, &["a//b/"]))),
            ("/f/<path:p>", "/f//a", None),
            ("/f/<path:p>", "/f/", None),
            ("/f/<path:p>", "/f", None),
            ("/<path:p>/", "/a/b/", Some((Whole, &["a/b"]))),
            ("/<path:p>/", "/a/b", Some((SlashMissing, &["a/b"]))),
            ("/<path:p>/", "/a//", None),
            ("/<a>/<path:p>/<b>/x<int:c>", "/1/2/3/4/x5", Some((Whole, &["1", "2/3", "4", "5"]))),
            ("/<path:p>/edit", "/edit", None),
            ("/<path:p>/edit", "//edit", None),
            ("/<path:p>/edit", "/a//edit", None),
            ("/<path:p>/edit", "/a/edit/edit", Some((Whole, &["a/edit"]))),
        ];
        for (rule, path, expected) in table {
            let found = arguments(&Rule::parse(rule).unwrap(), path);
            let expected = expected.map(|(fit, values)| (fit, values.iter().map(|&value| value.to_owned()).collect()));
            assert_eq!(found, expected, "{rule} with {path}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        for (prefix, path, at) in [
            ("/api", "/api", Some(4)),
            ("/api", "/api/x", Some(4)),
            ("/api/", "/api", Some(4)),
            ("/api", "/apifoo", None),
            ("/<x>", "/é/x", Some(3)),
            ("/", "/x", Some(0)),
            ("", "", Some(0)),
        ] {
            let found = arguments(&Rule::parse_prefix(prefix).unwrap(), path).map(|(fit, _)| fit);
            assert_eq!(found, at.map(Fit::Prefix), "{prefix} with {path}");
        }
    }

    #[test]
    fn a_malformed_rule_is_an_error_that_names_it() {
        use RouteErrorKind::{DuplicateArgument, MalformedRule, UnknownConverter};
        for (rule, kind) in [
            ("", MalformedRule),
            ("a", MalformedRule),
            ("/a//b", MalformedRule),
            ("//", MalformedRule),
            ("/../a", MalformedRule),
            ("/a?b=c", MalformedRule),
            ("/<a", MalformedRule),
            ("/a>", MalformedRule),
            ("/a><b", MalformedRule),
            ("/<>", MalformedRule),
            ("/<int:>", MalformedRule),
            ("/<a b>", MalformedRule),
            ("/<a>-<b>", MalformedRule),
            ("/x<path:a>", MalformedRule),
            ("/<path:a>/<path:b>", MalformedRule),
            ("/<number:a>", UnknownConverter),
            ("/<a>/<int:a>", DuplicateArgument),
            ("/<a>/<b>/<c>/<d>/<e>/<f>/<g>/<h>/<i>/<j>/<k>/<l>/<m>/<n>/<o>/<p>/<q>", MalformedRule),
        ] {
            let error = Rule::parse(rule).unwrap_err();
            assert_eq!(error.kind(), kind, "{rule}: {error}");
            assert!(error.to_string().contains(&format!("{rule:?}")), "{error}");
        }
        assert!(Rule::parse_prefix("api").is_err() && Rule::parse_prefix("/<path:p>").is_err());
    }
}
