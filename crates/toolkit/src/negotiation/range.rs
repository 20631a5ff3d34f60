//! The Range field with the unit `bytes` (RFC 9110 §14).

use std::ops::Range;

/// The maximum number of ranges in one request; a field with more is ignored, and the client gets the whole
/// representation (RFC 9110 §14.2). Clients that read an index and some pages of a document ask for fewer.
pub const MAX_RANGES: usize = 16;

/// Ranges that are closer than this many bytes are sent as one: the head of a part is about as long (RFC 9110 §15.3.7.2).
const MIN_GAP: u64 = 80;

/// One range of a Range field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last` or `first-`: from one position to another, inclusive, or to the end.
    From(u64, Option<u64>),
    /// `-length`: the last bytes.
    Last(u64),
}

/// The ranges that a client asks for: the value of a Range field with the unit `bytes`.
///
/// ```
/// use amboss_toolkit::{ByteRanges, Resolved};
///
/// let ranges = ByteRanges::parse(b"bytes=0-99, -100").unwrap();
/// assert_eq!(ranges.resolve(1000), Resolved::Parts(vec![0..100, 900..1000]));
/// assert_eq!(ByteRanges::parse(b"bytes=50-").unwrap().resolve(10), Resolved::Unsatisfiable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRanges(Vec<ByteRange>);

/// What ranges select from a representation of a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// 200: everything.
    Whole,
    /// 206: these bytes; at least one range, each at least one byte, none overlaps another.
    Parts(Vec<Range<u64>>),
    /// 416: no range has a byte.
    Unsatisfiable,
}

impl ByteRanges {
    /// Reads a field value. `None` if it has another unit, is malformed, or has more than 16 ranges: such a field is
    /// ignored (RFC 9110 §14.2).
    pub fn parse(value: &[u8]) -> Option<ByteRanges> {
        let (unit, set) = std::str::from_utf8(value).ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut ranges = Vec::new();
        for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
            if ranges.len() == MAX_RANGES {
                return None;
            }
            ranges.push(parse_range(spec)?);
        }
        (!ranges.is_empty()).then_some(ByteRanges(ranges))
    }

    /// The ranges in the order of the field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ByteRange> + '_ {
        self.0.iter().copied()
    }

    /// Selects the bytes of a representation of this length.
    ///
    /// Ranges that overlap, or are so close that the head of a part costs more than the gap, are joined; then the parts
    /// are in ascending order. Otherwise they keep the order of the field. Joined ranges never send a byte twice, so a
    /// request can't ask for more than the representation (RFC 9110 §17.15, CVE-2011-3192).
    pub fn resolve(&self, length: u64) -> Resolved {
        if length == 0 && self.iter().any(|range| matches!(range, ByteRange::Last(1..))) {
            // RFC 9110 §14.1.2: the last bytes of nothing are satisfiable, but Content-Range can't name no byte.
            return Resolved::Whole;
        }
        let parts: Vec<_> = self.iter().filter_map(|range| select(range, length)).collect();
        match parts.len() {
            0 => Resolved::Unsatisfiable,
            1 => Resolved::Parts(parts),
            _ => Resolved::Parts(joined(parts)),
        }
    }
}

/// RFC 9110 §14.1.1: `int-range` or `suffix-range`.
fn parse_range(spec: &str) -> Option<ByteRange> {
    let (first, last) = spec.split_once('-')?;
    match (first, last) {
        ("", last) => Some(ByteRange::Last(parse_position(last)?)),
        (first, "") => Some(ByteRange::From(parse_position(first)?, None)),
        (first, last) => {
            let (first, last) = (parse_position(first)?, parse_position(last)?);
            (first <= last).then_some(ByteRange::From(first, Some(last)))
        }
    }
}

/// Reads a decimal number. One that is too large stands for the largest: no file is that long.
fn parse_position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn select(range: ByteRange, length: u64) -> Option<Range<u64>> {
    let selected = match range {
        ByteRange::From(first, last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
        ByteRange::Last(count) => length.saturating_sub(count)..length,
    };
    (selected.start < selected.end).then_some(selected)
}

fn joined(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_by_key(|part| part.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match joined.last_mut() {
            Some(last) if part.start < last.end.saturating_add(MIN_GAP) => last.end = last.end.max(part.end),
            _ => joined.push(part),
        }
    }
    if joined.len() == parts.len() {
        parts
    } else {
        joined
    }
}

#[cfg(test)]
// A vector of one range is meant.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::Resolved::{Parts, Unsatisfiable, Whole};
    use super::*;

    fn resolve(value: &str, length: u64) -> Resolved {
        ByteRanges::parse(value.as_bytes()).map_or(Whole, |ranges| ranges.resolve(length))
    }

    #[test]
    fn a_range_selects_bytes() {
        for (value, expected) in [
            ("bytes=0-0", Parts(vec![0..1])),
            ("bytes=0-9", Parts(vec![0..10])),
            ("Bytes = 0-9", Parts(vec![0..10])),
            ("bytes= 0-9 ,\t", Parts(vec![0..10])),
            ("bytes=990-", Parts(vec![990..1000])),
            ("bytes=990-5000", Parts(vec![990..1000])),
            ("bytes=-10", Parts(vec![990..1000])),
            ("bytes=-5000", Parts(vec![0..1000])),
            ("bytes=999-999", Parts(vec![999..1000])),
            ("bytes=0-99999999999999999999999", Parts(vec![0..1000])),
            ("bytes=1000-", Unsatisfiable),
            ("bytes=1000-1000", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=1000-, -0", Unsatisfiable),
            ("bytes=1000-, 0-0", Parts(vec![0..1])),
        ] {
            assert_eq!(resolve(value, 1000), expected, "{value}");
        }
    }

    #[test]
    fn a_malformed_field_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=0-1-2",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=0x1-2",
            "bytes=0-1;2-3",
            "bytes=0-1, x",
            "items=0-1",
            "bytes 0-1",
            "bytes=\u{661}-\u{662}",
        ] {
            assert_eq!(resolve(value, 1000), Whole, "{value}");
        }
        assert_eq!(ByteRanges::parse(b"bytes=0-\xff"), None);
    }

    #[test]
    fn several_ranges_keep_their_order_unless_they_are_joined() {
        for (value, expected) in [
            ("bytes=0-9,500-509", vec![0..10, 500..510]),
            ("bytes=500-509,0-9", vec![500..510, 0..10]),
            ("bytes=500-509,0-9,505-600", vec![0..10, 500..601]),
            ("bytes=0-9,10-19", vec![0..20]),
            ("bytes=0-9,50-59", vec![0..60]),
            ("bytes=0-,0-9,-5", vec![0..1000]),
        ] {
            assert_eq!(resolve(value, 1000), Parts(expected), "{value}");
        }
    }

    /// CVE-2011-3192, the "Apache killer": many overlapping ranges, each of almost the whole file.
    #[test]
    fn overlapping_ranges_never_select_more_than_the_file() {
        let killer: Vec<_> = (0..1300).map(|n| format!("5-{n}")).collect();
        assert_eq!(resolve(&format!("bytes=0-,{}", killer.join(",")), 1 << 40), Whole, "too many ranges are ignored");
        let few: Vec<_> = (0..MAX_RANGES).map(|n| format!("{n}-")).collect();
        assert_eq!(resolve(&format!("bytes={}", few.join(",")), 1 << 40), Parts(vec![0..1 << 40]));
        let huge = format!("bytes={}", "0-,".repeat(1_000_000));
        assert_eq!(resolve(&huge, 1 << 40), Whole);
        let near_the_limit = format!("bytes={}-,{}-", u64::MAX - 1, u64::MAX);
        assert_eq!(resolve(&near_the_limit, u64::MAX), Parts(vec![u64::MAX - 1..u64::MAX]));
    }

    #[test]
    fn an_empty_representation_has_no_range() {
        for (value, expected) in [
            ("bytes=0-", Unsatisfiable),
            ("bytes=0-0", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=-1", Whole),
        ] {
            assert_eq!(resolve(value, 0), expected, "{value}");
        }
    }
}
