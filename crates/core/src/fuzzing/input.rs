//! Helpers that every target uses to read its input and to print it.

/// Splits off the first `N` bytes; if there are fewer, they are zeros and the rest is empty.
pub(super) fn split_prefix<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    match data.split_first_chunk::<N>() {
        Some((first, rest)) => (*first, rest),
        None => ([0; N], b""),
    }
}

/// A position in `0..=length`, from two bytes.
pub(super) fn cut_position(bytes: [u8; 2], length: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes)) % (length + 1)
}

/// The bytes as printable text.
pub(super) fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
