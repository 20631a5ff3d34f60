//! A simple and slow reader of multipart bodies that splits the complete body at every delimiter, to compare with.

use crate::form::FormLimits;

/// A part of a body: its header section with the empty line, and its data.
pub(super) type Part = (Vec<u8>, Vec<u8>);

/// The parts of a body; `None` if it is malformed, or beyond a limit that concerns a single part.
pub(super) fn split(body: &[u8], boundary: &[u8], limits: &FormLimits) -> Option<Vec<Part>> {
    // The first delimiter may stand at the start of the body, without its CR LF.
    let text = [b"\r\n", body].concat();
    let pieces = split_at_all(&text, &[b"\r\n--", boundary].concat());
    let (preamble, pieces) = pieces.split_first()?;
    if preamble.len() > limits.part_headers + 2 {
        return None;
    }
    let mut parts = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if let Some(rest) = piece.strip_prefix(b"--") {
            let rest = without_padding(rest);
            return (rest.is_empty() || rest.starts_with(b"\r\n")).then_some(parts);
        }
        let is_last = index + 1 == pieces.len();
        if is_last || parts.len() == limits.parts {
            return None;
        }
        parts.push(part(without_padding(piece).strip_prefix(b"\r\n")?, limits)?);
    }
    None
}

fn part(piece: &[u8], limits: &FormLimits) -> Option<Part> {
    let (section, data) = if let Some(data) = piece.strip_prefix(b"\r\n") {
        (b"\r\n".to_vec(), data.to_vec())
    } else if let Some(end) = piece.windows(4).position(|window| window == b"\r\n\r\n") {
        (piece[..end + 4].to_vec(), piece[end + 4..].to_vec())
    } else if piece.is_empty() || piece.ends_with(b"\r\n") {
        // The CR LF of the delimiter is that of the empty line as well.
        ([piece, b"\r\n"].concat(), Vec::new())
    } else {
        return None;
    };
    let lines = section.iter().filter(|&&byte| byte == b'\n').count() - 1;
    (section.len() <= limits.part_headers && lines <= limits.headers_per_part).then_some((section, data))
}

fn split_at_all<'a>(text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let (mut pieces, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        if text[at..].starts_with(delimiter) {
            pieces.push(&text[start..at]);
            at += delimiter.len();
            start = at;
        } else {
            at += 1;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn without_padding(bytes: &[u8]) -> &[u8] {
    let padding = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &bytes[padding..]
}
