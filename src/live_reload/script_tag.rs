//! The script element at the end of a page, in the page's encoding.

/// A page's character encoding, as far as it matters for ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Any encoding that writes ASCII characters as ASCII, such as UTF-8.
    Ascii,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// The length of the longest byte order mark, in bytes.
    pub(super) const BOM_LEN: usize = 3;

    /// Returns the encoding by the charset of a Content-Type. The names are those of the WHATWG Encoding Standard.
    pub(super) fn from_content_type(value: &[u8]) -> Encoding {
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

    /// Returns the encoding by the byte order mark at the start of a page, which takes precedence over the charset.
    pub(super) fn or_from_bom(self, start: &[u8]) -> Encoding {
        match start {
            [0xef, 0xbb, 0xbf, ..] => Encoding::Ascii,
            [0xff, 0xfe, ..] => Encoding::Utf16Le,
            [0xfe, 0xff, ..] => Encoding::Utf16Be,
            _ => self,
        }
    }
}

/// The script element. It has the same length in each encoding, because the Content-Length is sent before the server
/// knows the start of the page, which may be a byte order mark.
pub(super) struct ScriptTag {
    url: String,
}

impl ScriptTag {
    pub(super) fn new(url: String) -> ScriptTag {
        ScriptTag { url }
    }

    fn text(&self) -> String {
        format!("<script async src=\"{}\"></script>", self.url)
    }

    /// Returns the length in bytes.
    pub(super) fn len(&self) -> usize {
        2 * self.text().len()
    }

    /// Returns the element in an encoding. In ASCII, an additional attribute makes the element as long as in UTF-16.
    pub(super) fn encoded(&self, encoding: Encoding) -> Vec<u8> {
        let text = self.text();
        match encoding {
            Encoding::Ascii => {
                let attribute = " data-fill=\"\"".len();
                let fill = "-".repeat(text.len() - attribute);
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
    fn the_encoding_is_the_one_that_a_browser_uses() {
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
            let encoding = Encoding::from_content_type(content_type.as_bytes()).or_from_bom(start);
            assert_eq!(encoding, expected, "{content_type}");
        }
    }

    #[test]
    fn the_length_is_the_same_in_each_encoding() {
        let script = ScriptTag::new("/live.js?1-2".into());
        for encoding in [Encoding::Ascii, Encoding::Utf16Le, Encoding::Utf16Be] {
            assert_eq!(script.encoded(encoding).len(), script.len(), "{encoding:?}");
        }
    }
}
