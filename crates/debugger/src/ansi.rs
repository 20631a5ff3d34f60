//! Parses terminal output into text with the 16 colours and bold of ECMA-48's SGR sequences. All other control
//! sequences (ECMA-48 §5 and common extensions) are dropped, and so are all control characters except tab and line
//! feed.

/// The style of text. Colours are numbered as in terminals: 0 to 7, and 8 to 15 for the bright ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) bold: bool,
    pub(crate) color: Option<u8>,
    pub(crate) background: Option<u8>,
}

/// An iterator over the pieces of a text with their styles. No piece is empty.
pub(crate) struct Pieces<'a> {
    rest: &'a str,
    style: Style,
}

pub(crate) fn pieces(text: &str) -> Pieces<'_> {
    Pieces { rest: text, style: Style::default() }
}

/// The text without its styles.
pub(crate) fn strip(text: &str) -> String {
    pieces(text).map(|(piece, _)| piece).collect()
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a str, Style);

    fn next(&mut self) -> Option<(&'a str, Style)> {
        loop {
            let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
            let end = self.rest.find(|c| !is_text(c)).unwrap_or(self.rest.len());
            if end > 0 {
                let (piece, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some((piece, self.style));
            }
            let control = self.rest.chars().next()?;
            self.rest = &self.rest[control.len_utf8()..];
            if control == '\x1b' {
                self.escape();
            }
        }
    }
}

impl Pieces<'_> {
    /// Skips the rest of an escape sequence, whose ESC has been consumed. Of an incomplete sequence, only the ESC is
    /// dropped.
    fn escape(&mut self) {
        let Some(kind) = self.rest.bytes().next() else { return };
        match kind {
            b'[' => {
                let parameters = self.rest[1..].bytes().take_while(|byte| (0x20..0x40).contains(byte)).count();
                let Some(last @ 0x40..=0x7e) = self.rest.as_bytes().get(1 + parameters) else { return };
                if *last == b'm' {
                    let rest = self.rest;
                    self.select(&rest[1..1 + parameters]);
                }
                self.rest = &self.rest[2 + parameters..];
            }
            // Control strings, for example hyperlinks, end with BEL or ESC \.
            b']' | b'P' | b'X' | b'^' | b'_' => {
                let ends = [("\x07", 1), ("\x1b\\", 2)];
                let found = ends.iter().filter_map(|(end, length)| self.rest.find(end).map(|at| at + length)).min();
                self.rest = &self.rest[found.unwrap_or(1)..];
            }
            _ => {
                let between = self.rest.bytes().take_while(|byte| (0x20..0x30).contains(byte)).count();
                if matches!(self.rest.as_bytes().get(between), Some(0x30..=0x7e)) {
                    self.rest = &self.rest[between + 1..];
                }
            }
        }
    }

    /// Applies Select Graphic Rendition, ECMA-48 §8.3.117.
    fn select(&mut self, parameters: &str) {
        let mut codes =
            parameters.split([';', ':']).map(|code| if code.is_empty() { Some(0) } else { code.parse().ok() });
        while let Some(code) = codes.next() {
            let style = &mut self.style;
            match code {
                Some(0) => *style = Style::default(),
                Some(1) => style.bold = true,
                Some(22) => style.bold = false,
                Some(code @ 30..=37) => style.color = Some(code - 30),
                Some(code @ 90..=97) => style.color = Some(code - 90 + 8),
                Some(39) => style.color = None,
                Some(code @ 40..=47) => style.background = Some(code - 40),
                Some(code @ 100..=107) => style.background = Some(code - 100 + 8),
                Some(49) => style.background = None,
                // Either one of 256 colours, of which the first 16 are supported here, or an RGB colour.
                Some(which @ (38 | 48)) => {
                    let color = match codes.next().flatten() {
                        Some(5) => codes.next().flatten().filter(|&color: &u8| color < 16),
                        Some(2) => codes.nth(2).and(None),
                        _ => None,
                    };
                    *(if which == 38 { &mut style.color } else { &mut style.background }) = color;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_bold_are_kept_and_everything_else_is_dropped() {
        let style = |bold, color, background| Style { bold, color, background };
        let plain = Style::default();
        let cases: [(&str, &[(&str, Style)]); 14] = [
            ("a\tb\n", &[("a\tb\n", plain)]),
            ("\x1b[31ma\x1b[0mb", &[("a", style(false, Some(1), None)), ("b", plain)]),
            ("\x1b[1;92;44ma\x1b[22;39;49mb", &[("a", style(true, Some(10), Some(4))), ("b", plain)]),
            ("\x1b[0m\x1b[1m\x1b[38;5;9merror", &[("error", style(true, Some(9), None))]),
            ("\x1b[38;5;200;1ma", &[("a", style(true, None, None))]),
            ("\x1b[38;2;1;2;3;1ma", &[("a", style(true, None, None))]),
            ("\x1b[1ma\x1b[mb", &[("a", style(true, None, None)), ("b", plain)]),
            ("\x1b[2K\x1b[1Aa\x1b[?25lb", &[("a", plain), ("b", plain)]),
            ("\x1b]8;;http://x/\x1b\\a\x1b]8;;\x07b", &[("a", plain), ("b", plain)]),
            ("\x1b(Ba\x1b7b", &[("a", plain), ("b", plain)]),
            ("a\rb\x08c\0\u{9b}d", &[("a", plain), ("b", plain), ("c", plain), ("d", plain)]),
            ("a\x1b[31", &[("a", plain), ("[31", plain)]),
            ("a\x1b", &[("a", plain)]),
            ("\x1bä\x1b[ä", &[("ä", plain), ("[ä", plain)]),
        ];
        for (text, expected) in cases {
            assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
        assert_eq!(strip("\x1b[1m\x1b[38;5;9merror\x1b[0m: no\n"), "error: no\n");
    }
}
