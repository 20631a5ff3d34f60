//! Text from outside, made safe to show: without control characters, and bounded.

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces characters that change how a terminal or a browser shows the text around them: control characters except line
/// feeds and tabs, and the controls of the bidirectional algorithm, which can make source code read differently than it
/// is compiled (CVE-2021-42574).
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(c: char) -> bool {
    let is_control = c.is_control() && c != '\n' && c != '\t';
    is_control || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cuts a text to this many bytes, and marks the cut with an ellipsis.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(visible("a\tä\n"), "a\tä\n");
        assert_eq!(visible("\x1b[31m\x00\r\u{9b}\u{202e}"), "\\u{1b}[31m\\u{0}\\u{d}\\u{9b}\\u{202e}");
    }

    #[test]
    fn a_cut_is_marked_and_never_inside_a_character() {
        assert_eq!(shorten("äö", 4), "äö");
        assert_eq!(shorten("äö", 3), "ä…");
        assert_eq!(shorten("äö", 0), "…");
    }
}
