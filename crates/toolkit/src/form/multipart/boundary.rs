//! The boundary of a multipart body, and the search for it in data that arrives in pieces.

use crate::form::error::{FormError, FormErrorKind};

/// The maximum length of a boundary in bytes (RFC 2046 §5.1.1).
const MAX_LENGTH: usize = 70;

/// The delimiter between two parts: CR LF, `--` and the boundary.
#[derive(Clone, Debug)]
pub(crate) struct Delimiter(Vec<u8>);

impl Delimiter {
    /// Makes the delimiter of a boundary, which is 1 to 70 characters of `bchars` and does not end with a space (RFC 2046
    /// §5.1.1).
    pub(crate) fn new(boundary: &[u8]) -> Result<Delimiter, FormError> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        let well_formed = matches!(boundary.len(), 1..=MAX_LENGTH) && boundary.iter().all(allowed);
        if !well_formed || boundary.ends_with(b" ") {
            return Err(FormErrorKind::Boundary.into());
        }
        Ok(Delimiter([b"\r\n--", boundary].concat()))
    }

    /// The delimiter without its CR LF, as it begins a line.
    pub(super) fn dash_boundary(&self) -> &[u8] {
        &self.0[2..]
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A search for the delimiter.
///
/// CR is the first byte of the delimiter and occurs in it only once. After a mismatch, the matched bytes therefore hold
/// no other beginning of a delimiter, and the search continues at the byte that did not match: each byte is compared at
/// most twice, whatever the data is and however it is cut (CVE-2023-46136).
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// The number of bytes at the start of the next input that have matched already.
    matched: usize,
    /// The number of comparisons so far.
    #[cfg(test)]
    pub(super) comparisons: u64,
}

/// The result of a search: the number of bytes before the delimiter, or before bytes that may be its beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Delimiter(usize),
    Nothing(usize),
}

impl Search {
    /// Searches the input. After [`Found::Nothing`], the next input has to begin with the bytes after that position.
    pub(super) fn run(&mut self, delimiter: &Delimiter, input: &[u8]) -> Found {
        let delimiter = &delimiter.0[..];
        let (mut start, mut matched) = (0, std::mem::take(&mut self.matched));
        loop {
            let rest = delimiter[matched..].iter().zip(&input[start + matched..]);
            matched += rest.take_while(|(expected, byte)| expected == byte).count();
            self.count(matched + 1);
            if matched == delimiter.len() {
                return Found::Delimiter(start);
            }
            if start + matched == input.len() {
                self.matched = matched;
                return Found::Nothing(start);
            }
            let mismatch = start + matched;
            let Some(distance) = find_cr(&input[mismatch..]) else {
                self.count(input.len() - mismatch);
                return Found::Nothing(input.len());
            };
            self.count(distance);
            (start, matched) = (mismatch + distance, 1);
        }
    }

    /// Counts comparisons, so that tests see whether the search is linear.
    fn count(&mut self, _comparisons: usize) {
        #[cfg(test)]
        {
            self.comparisons += _comparisons as u64;
        }
    }
}

/// The position of the first CR.
fn find_cr(bytes: &[u8]) -> Option<usize> {
    /// `contains` compares several bytes at once, and `position` one; so blocks without CR are skipped by the former.
    const BLOCK: usize = 128;
    // Data of nothing but CR would otherwise begin a block for each byte.
    if bytes.first() == Some(&b'\r') {
        return Some(0);
    }
    let mut skipped = 0;
    for block in bytes.chunks(BLOCK) {
        if block.contains(&b'\r') {
            return Some(skipped + block.iter().position(|&byte| byte == b'\r')?);
        }
        skipped += block.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_1_to_70_characters_of_rfc_2046() {
        let longest = "b".repeat(70);
        for boundary in ["a", "----WebKitFormBoundaryAb3", "a b", "'()+_,-./:=?", "----=_Part_1.2", &longest] {
            assert_eq!(
                Delimiter::new(boundary.as_bytes()).unwrap().dash_boundary(),
                format!("--{boundary}").as_bytes()
            );
        }
        for boundary in ["", "a ", "a\"", "a\tb", "a\r\nb", "a\0", "ä", "a;b", "a*", &"b".repeat(71)] {
            let error = Delimiter::new(boundary.as_bytes()).unwrap_err();
            assert!(matches!(error.kind(), FormErrorKind::Boundary) && error.status() == 400, "{boundary:?}");
        }
    }

    /// Searches data in pieces of this length; the position of the delimiter and the number of comparisons.
    fn search(data: &[u8], piece: usize) -> (Option<usize>, u64) {
        let delimiter = Delimiter::new(b"boundary").unwrap();
        let (mut search, mut at, mut end) = (Search::default(), 0, 0);
        while end < data.len() {
            end = data.len().min(end + piece);
            match search.run(&delimiter, &data[at..end]) {
                Found::Delimiter(before) => return (Some(at + before), search.comparisons),
                Found::Nothing(before) => at += before,
            }
            assert!(end - at < delimiter.len(), "more bytes are kept than a part of a delimiter");
        }
        (None, search.comparisons)
    }

    #[test]
    fn the_delimiter_is_found_in_any_pieces() {
        let cases: &[(&[u8], Option<usize>)] = &[
            (b"\r\n--boundary", Some(0)),
            (b"data\r\n--boundary--", Some(4)),
            (b"\r\r\n--boundary", Some(1)),
            (b"\r\n\r\n--boundary", Some(2)),
            (b"\r\n--bound\r\n--boundary", Some(9)),
            (b"\r\n-\r\n--\r\n--boundar\r\n--boundary", Some(18)),
            (b"\n--boundary\r--boundary", None),
            (b"\r\n--boundarz", None),
            (b"--boundary", None),
            (b"", None),
        ];
        for (data, expected) in cases {
            for piece in 1..=data.len().max(1) {
                assert_eq!(search(data, piece).0, *expected, "{} in pieces of {piece}", data.escape_ascii());
            }
        }
        assert_eq!(search(&[&[b'x'; 1000][..], b"\r\n--boundary"].concat(), 300).0, Some(1000));
    }

    #[test]
    fn cve_2023_46136_the_search_is_linear_for_any_data_in_any_pieces() {
        for pattern in [&b"\r"[..], b"\r\n", b"\r\n--bounda", b"\r\n--boundar\r", b"\n", b"x", b"-"] {
            for piece in [1, 2, 7, 1000, usize::MAX / 2] {
                for length in [10_000, 100_000] {
                    let data: Vec<u8> = pattern.iter().copied().cycle().take(length).collect();
                    let (found, comparisons) = search(&data, piece);
                    assert_eq!(found, None);
                    let pieces = length.div_ceil(piece) as u64;
                    // One comparison more for each piece, and at most three for each byte.
                    let bound = 3 * length as u64 + 12 * pieces + 12;
                    assert!(comparisons <= bound, "{} {piece} {length}: {comparisons}", pattern.escape_ascii());
                }
            }
        }
    }
}
