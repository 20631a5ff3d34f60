//! Small pieces of HTTP grammar that several parsers share: byte classes, tokens, decimal numbers and lists.

/// Bit of a `tchar` in [`CLASSES`] (RFC 9110 §5.6.2).
pub(super) const TOKEN: u8 = 1;
/// Bit of a byte that may stand in a field value in [`CLASSES`] (RFC 9110 §5.5).
pub(super) const VALUE: u8 = 2;
/// Bit of a visible ASCII byte in [`CLASSES`] (VCHAR of RFC 5234).
pub(super) const VISIBLE: u8 = 4;
/// Bit of a byte that may stand unescaped in a host name in [`CLASSES`]: unreserved and sub-delims (RFC 3986 §3.2.2).
pub(super) const REG_NAME: u8 = 8;

/// The classes of each byte, as a set of bits. This table is the definition that every vector kernel is tested against.
pub(super) const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        // RFC 9110 §5.6.2: tchar
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        // RFC 9110 §5.5: field-vchar = VCHAR / obs-text, and between them SP and HTAB
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= VALUE;
        }
        if b.is_ascii_graphic() {
            class |= VISIBLE;
        }
        // RFC 3986 §2.2 and §2.3: unreserved and sub-delims
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            )
        {
            class |= REG_NAME;
        }
        table[byte] = class;
        byte += 1;
    }
    table
};

/// Whether a byte is a `tchar` (RFC 9110 §5.6.2).
#[inline]
pub(super) const fn is_tchar(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether a byte may stand in a field value (RFC 9110 §5.5).
#[inline]
pub(super) const fn is_value_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// Whether a byte may stand unescaped in a host name: unreserved and sub-delims (RFC 3986 §3.2.2).
#[inline]
pub(super) const fn is_reg_name(byte: u8) -> bool {
    CLASSES[byte as usize] & REG_NAME != 0
}

/// Whether the bytes are a `token`: one `tchar` or more (RFC 9110 §5.6.2).
#[inline]
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// Parses decimal digits and nothing else; `None` for any other byte, for no digits and beyond `u64`.
pub(super) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The members of a comma-separated list, without empty members (RFC 9110 §5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_digits_only_and_fit_in_64_bits() {
        for (text, number) in [("0", 0), ("007", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse_decimal(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "-1", "+1", "1 ", "0x1", "1_0", "18446744073709551616"] {
            assert_eq!(parse_decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_list_has_no_empty_members() {
        assert_eq!(list(b" a,, b c ,").collect::<Vec<_>>(), [&b"a"[..], b"b c"]);
        assert_eq!(list(b"").count(), 0);
    }

    #[test]
    fn the_byte_classes_are_those_of_rfc_9110() {
        for byte in 0..=255u8 {
            let special = b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_tchar(byte), byte.is_ascii_alphanumeric() || special, "{byte:#04x}");
            assert_eq!(is_value_byte(byte), byte == b'\t' || byte >= 0x20 && byte != 0x7f, "{byte:#04x}");
            let in_name = b"-._~!$&'()*+,;=".contains(&byte);
            assert_eq!(is_reg_name(byte), byte.is_ascii_alphanumeric() || in_name, "{byte:#04x}");
        }
        assert!(is_token(b"GET") && !is_token(b"") && !is_token(b"a b"));
    }
}
