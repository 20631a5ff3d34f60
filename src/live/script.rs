//! The script at the end of a page, in the page's encoding.

/// How a page's characters are written, as far as it matters to ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// ASCII is a part of it.
    Ascii,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// Bytes of the longest byte order mark.
    pub(super) const MARK: usize = 3;

    /// By the charset of a Content-Type; the names are those of the WHATWG's Encoding Standard.
    pub(super) fn of_type(value: &[u8]) -> Encoding {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        let charset = value.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("charset="));
        match charset.map(|name| name.trim().trim_matches('"')) {
            Some("utf-16" | "utf-16le" | "csunicode" | "iso-10646-ucs-2" | "ucs-2" | "unicode" | "unicodefeff") => {
                Encoding::Utf16Le
            }
            Some("utf-16be" | "unicodefffe") => Encoding::Utf16Be,
            _ => Encoding::Ascii,
        }
    }

    /// With a look at how the page begins: a byte order mark counts more than any name.
    pub(super) fn or_marked(self, start: &[u8]) -> Encoding {
        match start {
            [0xef, 0xbb, 0xbf, ..] => Encoding::Ascii,
            [0xff, 0xfe, ..] => Encoding::Utf16Le,
            [0xfe, 0xff, ..] => Encoding::Utf16Be,
            _ => self,
        }
    }
}

/// As long in each encoding: the length of a page is told before it is known how the page begins.
pub(super) struct Script {
    url: String,
}

impl Script {
    pub(super) fn new(url: String) -> Script {
        Script { url }
    }

    fn text(&self) -> String {
        format!("<script async src=\"{}\"></script>", self.url)
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        2 * self.text().len()
    }

    pub(super) fn encoded(&self, encoding: Encoding) -> Vec<u8> {
        let text = self.text();
        match encoding {
            Encoding::Ascii => {
                let around = " data-fill=\"\"".len();
                let fill = "-".repeat(text.len() - around);
                format!("<script async src=\"{}\" data-fill=\"{fill}\"></script>", self.url).into_bytes()
            }
            Encoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_one_that_a_browser_takes() {
        use Encoding::*;
        for (content_type, start, expected) in [
            ("text/html", &b""[..], Ascii),
            ("text/html; charset=utf-8", b"<!doctype", Ascii),
            ("text/html;charset=UTF-16", b"<", Utf16Le),
            ("text/html; a=b; charset=\"utf-16be\"", b"", Utf16Be),
            ("text/html; charset=utf-16", b"\xfe\xff\0<", Utf16Be),
            ("text/html; charset=utf-8", b"\xff\xfe<\0", Utf16Le),
            ("text/html; charset=utf-16", b"\xef\xbb\xbf<", Ascii),
        ] {
            assert_eq!(Encoding::of_type(content_type.as_bytes()).or_marked(start), expected, "{content_type}");
        }
    }

    #[test]
    fn it_is_as_long_in_each_encoding() {
        let script = Script::new("/live.js?1-2".into());
        for encoding in [Encoding::Ascii, Encoding::Utf16Le, Encoding::Utf16Be] {
            assert_eq!(script.encoded(encoding).len(), script.len(), "{encoding:?}");
        }
    }
}
