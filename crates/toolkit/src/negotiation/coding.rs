//! Accept-Encoding (RFC 9110 §12.5.3), for representations that are stored with a content coding.

/// A content coding in which files are stored beside the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
    /// `gzip`
    Gzip,
}

/// The codings, from the one that usually compresses best.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// A weight of 1.
const FULL: u16 = 1000;

impl Coding {
    /// The name in Accept-Encoding and Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// The extension of a file with this coding.
    pub fn extension(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }
}

/// The codings that the client accepts and does not like less than none, best first.
pub fn accepted_codings(accept_encoding: &[u8]) -> impl Iterator<Item = Coding> {
    let identity = weight(accept_encoding, "identity").unwrap_or(0);
    let mut accepted = CODINGS.map(|coding| {
        let weight = weight(accept_encoding, coding.name()).or_else(|| weight(accept_encoding, "*")).unwrap_or(0);
        (coding, if weight < identity { 0 } else { weight })
    });
    // The sort is stable: among equals, the order of CODINGS stays.
    accepted.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
    accepted.into_iter().filter(|&(_, weight)| weight > 0).map(|(coding, _)| coding)
}

/// The weight of a coding in thousandths; `None` if it is not in the list.
fn weight(accept_encoding: &[u8], name: &str) -> Option<u16> {
    accept_encoding.split(|&byte| byte == b',').find_map(|element| {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let known = parts.next()?;
        // RFC 9110 §8.4.1.3: x-gzip is gzip.
        let known = if known.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { known };
        if !known.eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        Some(
            parts
                .find_map(|parameter| parse_weight(parameter.strip_prefix(b"q=").or(parameter.strip_prefix(b"Q="))?))
                .unwrap_or(FULL),
        )
    })
}

/// RFC 9110 §12.4.2: `0`, `1`, or up to three decimals. A malformed weight counts as 0: what is unclear is not used.
fn parse_weight(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole, b'.', decimals @ ..] => (whole, decimals),
        [whole] => (whole, &[][..]),
        _ => return Some(0),
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) || !matches!(whole, b'0' | b'1') {
        return Some(0);
    }
    let decimals =
        decimals.iter().fold((0, 100), |(sum, place), digit| (sum + u16::from(digit - b'0') * place, place / 10)).0;
    Some((u16::from(whole - b'0') * FULL + decimals).min(FULL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_chosen_by_weight_and_then_by_size() {
        for (accept, expected) in [
            ("", ""),
            ("gzip", "gzip"),
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("gzip;q=1.0, br;q=0.5", "gzip br"),
            ("br;q=0, gzip", "gzip"),
            ("*", "br zstd gzip"),
            ("*;q=0.1, gzip;q=0", "br zstd"),
            ("gzip;q=0.5, *;q=0", "gzip"),
            ("identity", ""),
            ("identity;q=1, *;q=0", ""),
            ("identity;q=0.5, gzip;q=0.4, br;q=0.6", "br"),
            ("identity;q=0, gzip;q=0.001", "gzip"),
            ("X-GZIP ; Q=0.3", "gzip"),
            ("gzip;q=abc", ""),
            ("gzip;q=0.0000", ""),
            ("gzip;q=2", ""),
            ("gzipx, brr", ""),
        ] {
            let names: Vec<_> = accepted_codings(accept.as_bytes()).map(Coding::name).collect();
            assert_eq!(names.join(" "), expected, "{accept}");
        }
    }
}
