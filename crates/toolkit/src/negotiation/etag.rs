//! Entity tags (RFC 9110 §8.8.3), alone and in the lists of If-Match and If-None-Match.

use std::fmt;

/// An entity tag: the name of one version of a representation (RFC 9110 §8.8.3).
///
/// A strong tag changes with every byte. A weak one changes when the meaning does, and can't be used to combine ranges.
///
/// ```
/// use amboss_toolkit::ETag;
///
/// let tag = ETag::strong("v1");
/// assert_eq!(tag.to_string(), "\"v1\"");
/// assert_eq!(ETag::parse(b"W/\"v1\""), Some(ETag::weak("v1")));
/// assert!(tag.weak_eq(&ETag::weak("v1")) && !tag.strong_eq(&ETag::weak("v1")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag {
    weak: bool,
    tag: String,
}

impl ETag {
    /// Makes a strong tag. Characters that an entity tag can't contain (quotes, spaces, controls) are percent-encoded.
    pub fn strong(tag: impl Into<String>) -> ETag {
        ETag { weak: false, tag: encoded(tag.into()) }
    }

    /// Makes a weak tag; see [`strong`](ETag::strong).
    pub fn weak(tag: impl Into<String>) -> ETag {
        ETag { weak: true, tag: encoded(tag.into()) }
    }

    /// Reads the value of an ETag field; `None` if it is malformed or not UTF-8.
    pub fn parse(value: &[u8]) -> Option<ETag> {
        let mut members = Members(value);
        let tag = members.next()?;
        // An ETag field is one tag, not a list.
        let alone = !value.starts_with(b",") && members.0.is_empty();
        alone.then(|| tag.to_tag()).flatten()
    }

    /// Whether the tag is weak.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// The opaque tag, without quotes.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Whether both tags are strong and equal (strong comparison, RFC 9110 §8.8.3.2).
    pub fn strong_eq(&self, other: &ETag) -> bool {
        !self.weak && self == other
    }

    /// Whether the opaque tags are equal (weak comparison, RFC 9110 §8.8.3.2).
    pub fn weak_eq(&self, other: &ETag) -> bool {
        self.tag == other.tag
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.tag)
    }
}

fn encoded(tag: String) -> String {
    if tag.bytes().all(is_etagc) {
        return tag;
    }
    let mut encoded = String::with_capacity(tag.len() + 8);
    for character in tag.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() && !is_etagc(byte) => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(character),
        }
    }
    encoded
}

/// RFC 9110 §8.8.3: `etagc = %x21 / %x23-7E / obs-text`.
fn is_etagc(byte: u8) -> bool {
    !matches!(byte, b'"' | b'\0'..=b' ' | 0x7f)
}

/// The value of If-Match or If-None-Match: a list of entity tags, or `*`.
///
/// A malformed list ends where its fault is: the tags before it count.
///
/// ```
/// use amboss_toolkit::{ETag, ETags};
///
/// let tags = ETags::parse(br#""a", W/"b""#);
/// assert!(tags.contains(&ETag::strong("a")));
/// assert!(tags.contains_weak(&ETag::strong("b")) && !tags.contains(&ETag::strong("b")));
/// assert!(ETags::parse(b"*").contains(&ETag::strong("any")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ETags {
    star: bool,
    tags: Vec<ETag>,
}

impl ETags {
    /// Reads a field value. Tags that are not UTF-8 are left out.
    pub fn parse(value: &[u8]) -> ETags {
        if is_star(value) {
            return ETags { star: true, tags: Vec::new() };
        }
        ETags { star: false, tags: Members(value).filter_map(|member| member.to_tag()).collect() }
    }

    /// Whether the value is `*`, which stands for any existing representation.
    pub fn is_star(&self) -> bool {
        self.star
    }

    /// The tags of the list.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ETag> {
        self.tags.iter()
    }

    /// Whether the list has this tag by strong comparison, or is `*`.
    pub fn contains(&self, tag: &ETag) -> bool {
        self.star || self.tags.iter().any(|known| known.strong_eq(tag))
    }

    /// Whether the list has this tag by weak comparison, or is `*`.
    pub fn contains_weak(&self, tag: &ETag) -> bool {
        self.star || self.tags.iter().any(|known| known.weak_eq(tag))
    }
}

/// How two entity tags are compared (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Strong,
    Weak,
}

/// Whether the list in a field value has this tag, or is `*`. Nothing is copied.
pub(super) fn list_has(value: &[u8], tag: Option<&ETag>, comparison: Comparison) -> bool {
    if is_star(value) {
        return true;
    }
    let Some(tag) = tag else { return false };
    let strength_fits = |weak: bool| comparison == Comparison::Weak || !(weak || tag.weak);
    Members(value).any(|member| strength_fits(member.weak) && member.tag == tag.tag.as_bytes())
}

fn is_star(value: &[u8]) -> bool {
    value.trim_ascii() == b"*"
}

/// One entity tag of a list.
struct Member<'a> {
    weak: bool,
    tag: &'a [u8],
}

impl Member<'_> {
    fn to_tag(&self) -> Option<ETag> {
        let tag = std::str::from_utf8(self.tag).ok()?.to_owned();
        Some(ETag { weak: self.weak, tag })
    }
}

/// The entity tags of a list, until the first one that is malformed.
struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        // RFC 9110 §5.6.1.2: a recipient ignores empty elements.
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = &std::mem::take(&mut self.0)[start..];
        let (weak, quoted) = rest.strip_prefix(b"W/").map_or((false, rest), |quoted| (true, quoted));
        let quoted = quoted.strip_prefix(b"\"")?;
        let length = quoted.iter().position(|&byte| !is_etagc(byte))?;
        let after = quoted[length..].strip_prefix(b"\"")?.trim_ascii_start();
        if after.first().is_some_and(|&byte| byte != b',') {
            return None;
        }
        self.0 = after;
        Some(Member { weak, tag: &quoted[..length] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: &[u8]) -> Vec<String> {
        ETags::parse(value).iter().map(ETag::to_string).collect()
    }

    #[test]
    fn a_list_is_read_up_to_its_first_fault() {
        let cases: [(&[u8], &[&str]); 13] = [
            (b"", &[]),
            (br#""a""#, &["\"a\""]),
            (br#""""#, &["\"\""]),
            (br#" "a" , W/"b",, "c,d" "#, &["\"a\"", "W/\"b\"", "\"c,d\""]),
            (br#","a","#, &["\"a\""]),
            (br#"w/"a""#, &[]),
            (br"a", &[]),
            (br#""a", b, "c""#, &["\"a\""]),
            (br#""a" "b""#, &[]),
            (br#""a"#, &[]),
            (b"\"a b\"", &[]),
            (b"\"\xc3\xa4\"", &["\"\u{e4}\""]),
            (b"\"\xe4\", \"a\"", &["\"a\""]),
        ];
        for (value, expected) in cases {
            assert_eq!(list(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_star_in_a_list_is_not_a_star() {
        assert!(ETags::parse(b" * ").is_star());
        for value in [&b"*, \"a\""[..], b"\"*\"", b"**", b""] {
            assert!(!ETags::parse(value).contains_weak(&ETag::strong("b")), "{}", value.escape_ascii());
        }
    }

    /// The table of RFC 9110 §8.8.3.2.
    #[test]
    fn tags_are_compared_as_the_rfc_says() {
        let (weak1, weak2, strong1) = (ETag::weak("1"), ETag::weak("2"), ETag::strong("1"));
        for (one, two, strong, weak) in [
            (&weak1, &weak1, false, true),
            (&weak1, &weak2, false, false),
            (&weak1, &strong1, false, true),
            (&strong1, &strong1, true, true),
        ] {
            assert_eq!((one.strong_eq(two), one.weak_eq(two)), (strong, weak), "{one} {two}");
            let value = one.to_string();
            assert_eq!(list_has(value.as_bytes(), Some(two), Comparison::Strong), strong);
            assert_eq!(list_has(value.as_bytes(), Some(two), Comparison::Weak), weak);
            let list = ETags::parse(value.as_bytes());
            assert_eq!((list.contains(two), list.contains_weak(two)), (strong, weak));
        }
    }

    #[test]
    fn a_field_is_one_tag() {
        for value in [&b"\"a\", \"b\""[..], b"a", b"", b",\"a\"", b"\"a\",", b"*"] {
            assert_eq!(ETag::parse(value), None, "{}", value.escape_ascii());
        }
        assert_eq!(ETag::parse(b"\"a\""), Some(ETag::strong("a")));
    }

    #[test]
    fn a_tag_is_always_printed_well_formed() {
        for (text, expected) in [("a\"b", "\"a%22b\""), ("a b\r\n", "\"a%20b%0D%0A\""), ("\u{e4}", "\"\u{e4}\"")] {
            let tag = ETag::strong(text);
            assert_eq!(tag.to_string(), expected);
            assert_eq!(ETag::parse(tag.to_string().as_bytes()), Some(tag));
        }
    }

    #[test]
    fn a_hostile_list_takes_linear_time() {
        let value = b"\"a\",".repeat(100_000);
        assert!(!list_has(&value, Some(&ETag::strong("b")), Comparison::Weak));
        assert!(!list_has(&b",".repeat(1_000_000), Some(&ETag::strong("b")), Comparison::Weak));
    }
}
