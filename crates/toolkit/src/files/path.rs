//! From the path of a request to a path below a folder, or to none.

use std::borrow::Cow;
use std::path::Path;

use percent_encoding::{percent_encode, AsciiSet, NON_ALPHANUMERIC};

/// What is escaped in a path: everything but the unreserved characters of RFC 3986 §2.3, and the slash.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A path below a folder: segments joined by single slashes, each a plain name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelativePath<'a> {
    /// The segments; empty for the folder itself.
    pub bytes: Cow<'a, [u8]>,
    /// Whether the path ends with a slash, as that of a folder does.
    pub is_folder: bool,
    /// Whether slashes that followed each other were merged, so that this is not the path that the client has sent.
    pub is_merged: bool,
}

impl<'a> RelativePath<'a> {
    /// Reads the decoded path of a request, after the prefix. Several slashes count as one. `None` if a segment is not
    /// a name that is served.
    pub fn parse(path: &'a [u8], hidden: bool) -> Option<RelativePath<'a>> {
        let trimmed = path.strip_prefix(b"/").unwrap_or(path);
        let (mut has_empty, mut first) = (false, true);
        let is_folder = path.ends_with(b"/");
        let trimmed = trimmed.strip_suffix(b"/").unwrap_or(trimmed);
        for segment in trimmed.split(|&byte| byte == b'/') {
            has_empty |= segment.is_empty();
            // RFC 8615: what is below /.well-known/ is there to be found.
            if !(segment.is_empty() || is_served(segment, hidden) || first && segment == b".well-known") {
                return None;
            }
            first &= segment.is_empty();
        }
        let bytes = if has_empty && !trimmed.is_empty() {
            let names: Vec<_> = trimmed.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
            Cow::Owned(names.join(&b'/'))
        } else {
            Cow::Borrowed(trimmed)
        };
        Some(RelativePath { bytes, is_folder, is_merged: path.windows(2).any(|pair| pair == b"//") })
    }

    /// The last segment.
    pub fn name(&self) -> &[u8] {
        self.bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// The path of an entry of this folder.
    pub fn join(&self, name: &str) -> Vec<u8> {
        let mut joined = Vec::with_capacity(self.bytes.len() + 1 + name.len());
        joined.extend_from_slice(&self.bytes);
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name.as_bytes());
        joined
    }
}

/// Whether an entry with this name is served: a plain name, which means the same to every system between the client and
/// the disk.
pub(super) fn is_served(name: &[u8], hidden: bool) -> bool {
    let is_plain = !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'\0' | b'/' | b'\\'));
    is_plain && (hidden || name[0] != b'.') && (!cfg!(windows) || is_plain_on_windows(name))
}

/// Whether Windows opens the file of this name, and nothing else: no device, no alternate stream, no other spelling of a
/// name. <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>
fn is_plain_on_windows(name: &[u8]) -> bool {
    const DEVICES: [&str; 8] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$", "CONFIG$"];
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let is_port = |port: &str| {
        let number = stem.get(..3).filter(|start| start.eq_ignore_ascii_case(port)).map(|_| &stem[3..]);
        let mut digits = number.unwrap_or_default().chars();
        matches!((digits.next(), digits.next()), (Some('0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'), None))
    };
    let is_device = DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) || is_port("COM") || is_port("LPT");
    // `GIT~1` is `.git`.
    let is_short = name.as_bytes().windows(2).any(|pair| pair[0] == b'~' && pair[1].is_ascii_digit());
    let is_odd = name.ends_with(['.', ' '])
        || name.contains(|c| matches!(c, '\0'..='\x1f' | '"' | '*' | ':' | '<' | '>' | '?' | '|'));
    !(is_device || is_short || is_odd)
}

/// Whether the target of a request has an encoded slash in its path. No name contains a slash, so no file is meant; a
/// proxy in front may have taken it for a part of a name, and have applied other rules.
pub(super) fn has_encoded_slash(target: &[u8]) -> bool {
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    path.windows(3).any(|part| part.eq_ignore_ascii_case(b"%2f"))
}

/// The path for the system; `None` if the system can't have such a name.
pub(super) fn system_path(bytes: &[u8]) -> Option<&Path> {
    #[cfg(unix)]
    return Some(Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes)));
    #[cfg(not(unix))]
    return std::str::from_utf8(bytes).ok().map(Path::new);
}

/// Percent-encodes a path for a URL.
pub(super) fn encode(path: &[u8]) -> String {
    percent_encode(path, IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &[u8]) -> Option<(String, bool)> {
        let path = RelativePath::parse(path, false)?;
        Some((String::from_utf8_lossy(&path.bytes).into_owned(), path.is_folder))
    }

    #[test]
    fn a_path_is_plain_names() {
        for (path, expected) in [
            ("", Some(("", false))),
            ("/", Some(("", true))),
            ("//", Some(("", true))),
            ("/a.txt", Some(("a.txt", false))),
            ("/a/b/", Some(("a/b", true))),
            ("//a///b", Some(("a/b", false))),
            ("/a//", Some(("a", true))),
            ("/a b", Some(("a b", false))),
            ("/a..b", Some(("a..b", false))),
            ("/...", None),
            ("/..", None),
            ("/../a", None),
            ("/a/../b", None),
            ("/a/..", None),
            ("/./a", None),
            ("/a/.", None),
            ("/a\0", None),
            ("/a\0.html", None),
            ("/..\\a", None),
            ("/a\\b", None),
            ("/.git/config", None),
            ("/a/.env", None),
            ("/.well-known/security.txt", Some((".well-known/security.txt", false))),
            ("/a/.well-known/b", None),
            ("/.well-known/.env", None),
            // Decoded once: these are names.
            ("/%2e%2e/a", Some(("%2e%2e/a", false))),
            ("/%2e%2e%2fa", Some(("%2e%2e%2fa", false))),
        ] {
            let parsed = parse(path.as_bytes());
            assert_eq!(parsed.as_ref().map(|(path, folder)| (path.as_str(), *folder)), expected, "{path:?}");
        }
        assert!(RelativePath::parse(b"/.git/config", true).is_some());
        for path in [&b"/.."[..], b"/.", b"/a/../b", b"/.\0", b"/.\\"] {
            assert_eq!(RelativePath::parse(path, true), None, "never, even with hidden files");
        }
    }

    #[test]
    fn windows_names_that_are_not_files_are_refused() {
        for name in [
            "con",
            "CON",
            "Con.txt",
            "nul.tar.gz",
            "aux ",
            "prn .txt",
            "com1",
            "LPT9.log",
            "com\u{b9}",
            "CONIN$",
            "a.txt::$DATA",
            "a.txt:stream",
            "C:",
            "a.",
            "a ",
            "...",
            "GIT~1",
            "a*",
            "a?",
            "a|b",
            "<a>",
            "\"a\"",
            "a\x01",
        ] {
            assert!(!is_plain_on_windows(name.as_bytes()), "{name:?}");
        }
        for name in ["console", "com", "com10", "lpt", "nully.txt", "a.con", "a~", "~a", "\u{e4}.txt", "a b.txt"] {
            assert!(is_plain_on_windows(name.as_bytes()), "{name:?}");
        }
        assert!(!is_plain_on_windows(b"\xff"));
    }

    #[test]
    fn an_encoded_slash_is_noticed_in_the_path_only() {
        for (target, expected) in [
            ("/a%2fb", true),
            ("/a%2Fb?x", true),
            ("/a?b=%2f", false),
            ("/a%252fb", false),
            ("/a%2", false),
            ("/", false),
        ] {
            assert_eq!(has_encoded_slash(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn an_encoded_path_has_no_character_with_a_meaning() {
        assert_eq!(encode(b"a b/c?d#e\"f:g\\h\xff\r\n"), "a%20b/c%3Fd%23e%22f%3Ag%5Ch%FF%0D%0A");
    }
}
