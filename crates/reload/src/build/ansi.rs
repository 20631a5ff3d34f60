//! Removes terminal control sequences (ECMA-48 §5) from cargo's output, for a log without colours.

/// The text without control sequences and control characters, except tab and line feed.
pub(super) fn strip(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first == '\x1b' {
            rest = after_sequence(rest);
        } else if !first.is_control() || matches!(first, '\n' | '\t') {
            plain.push(first);
        }
    }
    plain
}

/// The text after the escape sequence whose ESC has been read. Of an incomplete sequence, only the ESC is dropped.
fn after_sequence(rest: &str) -> &str {
    let is_in = |from: char, to: char| move |c: char| (from..=to).contains(&c);
    let end = match rest.chars().next() {
        Some('[') => {
            let last = rest[1..].trim_start_matches(is_in(' ', '?'));
            last.starts_with(is_in('@', '~')).then(|| rest.len() - last.len() + 1)
        }
        // Control strings, such as the hyperlinks of cargo and rustc, end with BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let ends = [("\x07", 1), ("\x1b\\", 2)];
            ends.iter().filter_map(|(end, length)| rest.find(end).map(|at| at + length)).min()
        }
        _ => {
            let last = rest.trim_start_matches(is_in(' ', '/'));
            last.starts_with(is_in('0', '~')).then(|| rest.len() - last.len() + 1)
        }
    };
    &rest[end.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_left() {
        for (text, plain) in [
            ("a\tb\n", "a\tb\n"),
            ("\x1b[1m\x1b[38;5;9merror\x1b[0m: no\n", "error: no\n"),
            ("\x1b[2K\x1b[1Aa\x1b[?25lb", "ab"),
            ("\x1b]8;;http://x/\x1b\\a\x1b]8;;\x07b", "ab"),
            ("\x1b(Ba\x1b7b", "ab"),
            ("a\rb\x08c\0\u{9b}d", "abcd"),
            ("a\x1b[31", "a[31"),
            ("a\x1b", "a"),
            ("\x1bä\x1b[ä", "ä[ä"),
        ] {
            assert_eq!(strip(text), plain, "{text:?}");
        }
    }
}
