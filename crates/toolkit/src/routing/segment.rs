//! One segment of a rule: the text between two slashes, or between two dots of a host.

use super::converter::Converter;
use super::error::{RouteError, RouteErrorKind};

/// A part of a path or of a host that an argument took: its first byte and the byte after its last.
pub(super) type Span = (u32, u32);

/// The maximum number of arguments of a rule. They are kept without an allocation, and the index counts them as
/// letters.
pub(super) const MAX_ARGUMENTS: usize = 16;

/// The arguments of a match, in the order of their names in the rule.
pub(super) type Spans = [Span; MAX_ARGUMENTS];

/// A segment of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This text.
    Static(String),
    /// An argument, which may have text around it.
    Argument { converter: Converter, affixes: Option<Box<Affixes>> },
}

/// The text before and after an argument in its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Affixes {
    pub(super) prefix: String,
    pub(super) suffix: String,
}

impl Segment {
    /// Reads `name`, `<id>`, `<int:id>` or `v<int:major>.html`, and appends the name of the argument to `names`.
    pub(super) fn parse(text: &str, rule: &str, names: &mut Vec<String>) -> Result<Segment, RouteError> {
        let malformed = |advice: &str| {
            RouteError::new(RouteErrorKind::MalformedRule, format!("the rule {rule:?} is malformed: {advice}"))
        };
        let Some((prefix, rest)) = text.split_once('<') else {
            if text.contains('>') {
                return Err(malformed("a \">\" has no \"<\" before it in the same segment"));
            }
            return Ok(Segment::Static(text.to_owned()));
        };
        let (argument, suffix) = rest.split_once('>').ok_or_else(|| {
            malformed("a \"<\" has no \">\" after it in the same segment, and an argument can't contain \"/\"")
        })?;
        // Several arguments in a segment are ambiguous, and finding the right split takes more than linear time.
        if prefix.contains('>') || suffix.contains(['<', '>']) {
            return Err(malformed("a segment holds at most one argument; separate arguments by \"/\""));
        }
        let (converter, name) = match argument.rsplit_once(':') {
            Some((converter, name)) => (Converter::parse(converter, rule)?, name),
            None => (Converter::DEFAULT, argument),
        };
        if name.is_empty() || !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            return Err(malformed("write an argument as <name> or <converter:name>; a name is letters, digits and _"));
        }
        if names.iter().any(|known| known == name) {
            let message = format!("the rule {rule:?} has two arguments with the name {name:?}: rename one");
            return Err(RouteError::new(RouteErrorKind::DuplicateArgument, message));
        }
        if names.len() == MAX_ARGUMENTS {
            return Err(malformed(&format!("a rule has at most {MAX_ARGUMENTS} arguments")));
        }
        names.push(name.to_owned());
        let affixes = (!prefix.is_empty() || !suffix.is_empty())
            .then(|| Box::new(Affixes { prefix: prefix.to_owned(), suffix: suffix.to_owned() }));
        Ok(Segment::Argument { converter, affixes })
    }

    /// Matches a whole segment that begins at `start`, and notes the argument in `spans`.
    #[inline]
    pub(super) fn matches(&self, text: &str, start: usize, spans: &mut Spans, argument: &mut usize) -> bool {
        let (converter, affixes) = match self {
            Segment::Static(known) => return text == known,
            Segment::Argument { converter, affixes } => (converter, affixes),
        };
        let (mut first, mut value) = (start, text);
        if let Some(Affixes { prefix, suffix }) = affixes.as_deref() {
            let inner = text.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_suffix(suffix.as_str()));
            let Some(inner) = inner else { return false };
            (first, value) = (start + prefix.len(), inner);
        }
        spans[*argument] = (first as u32, (first + value.len()) as u32);
        *argument += 1;
        converter.accepts(value)
    }

    /// The place of the segment among others at the same position: static text, then arguments with the longest text
    /// around them, then other arguments by their converter.
    pub(super) fn weight(&self) -> Weight {
        match self {
            Segment::Static(_) => Weight::STATIC,
            Segment::Argument { converter, affixes } => {
                let text = affixes.as_ref().map_or(0, |affixes| affixes.prefix.len() + affixes.suffix.len());
                Weight(1, usize::MAX - text, converter.weight())
            }
        }
    }

    /// The segment without the name of its argument: segments with the same pattern match the same text.
    pub(super) fn pattern(&self) -> String {
        match self {
            Segment::Static(text) => text.clone(),
            Segment::Argument { converter, affixes: None } => format!("<{converter:?}>"),
            Segment::Argument { converter, affixes: Some(affixes) } => {
                format!("{}<{converter:?}>{}", affixes.prefix, affixes.suffix)
            }
        }
    }
}

/// How specific a segment is; the lowest is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight(u8, usize, u8);

impl Weight {
    /// Static text.
    pub(super) const STATIC: Weight = Weight(0, 0, 0);
    /// An argument of several segments.
    pub(super) const PATH: Weight = Weight(2, 0, 0);
    /// Everything below a prefix.
    pub(super) const BELOW: Weight = Weight(3, 0, 0);
    /// The end of a rule with an argument of several segments, which comes after longer rules.
    pub(super) const END: Weight = Weight(4, 0, 0);
}
