//! The Content-Type of a file, by its extension.

use std::borrow::Cow;

/// The media type of a file with this name. Text, and what is always UTF-8 or nearly so, has a charset: without it,
/// browsers guess one from the user's language. XML names its encoding in its first line.
pub(crate) fn of(name: &[u8]) -> Cow<'static, str> {
    const UNKNOWN: &str = "application/octet-stream";
    let extension = name.rsplit(|&byte| byte == b'.').next().filter(|extension| extension.len() < name.len());
    let guess = extension.and_then(|extension| mime_guess::from_ext(std::str::from_utf8(extension).ok()?).first_raw());
    match guess.unwrap_or(UNKNOWN) {
        UNKNOWN if extension.is_some_and(|extension| extension.eq_ignore_ascii_case(b"cjs")) => {
            Cow::Borrowed("text/javascript; charset=utf-8")
        }
        "application/x-compressed" => Cow::Borrowed("application/gzip"),
        "audio/m4a" => Cow::Borrowed("audio/mp4"),
        "text/html" => Cow::Borrowed("text/html; charset=utf-8"),
        "text/css" => Cow::Borrowed("text/css; charset=utf-8"),
        // RFC 9239 §6: one name for all of them.
        "text/javascript" | "application/javascript" => Cow::Borrowed("text/javascript; charset=utf-8"),
        "text/plain" => Cow::Borrowed("text/plain; charset=utf-8"),
        "application/json" => Cow::Borrowed("application/json; charset=utf-8"),
        "text/xml" => Cow::Borrowed("text/xml"),
        text if text.starts_with("text/") => Cow::Owned(format!("{text}; charset=utf-8")),
        other => Cow::Borrowed(other),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_extension_decides_and_text_has_a_charset() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a.min.JS", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.cjs", "text/javascript; charset=utf-8"),
            ("a.m4a", "audio/mp4"),
            ("a.tgz", "application/gzip"),
            ("a.md", "text/markdown; charset=utf-8"),
            ("a.xml", "text/xml"),
            ("a.wasm", "application/wasm"),
            ("a.png", "image/png"),
            ("a.woff2", "font/woff2"),
            ("a.tar.gz", "application/gzip"),
            ("html", "application/octet-stream"),
            ("README", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(super::of(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(super::of(b"\xff.txt"), "text/plain; charset=utf-8");
        assert_eq!(super::of(b"a.\xff"), "application/octet-stream");
    }
}
