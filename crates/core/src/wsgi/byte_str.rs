//! The values of the environ: bytes that are usually text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::Utf8Error;

/// A value of the environ: a byte string that is usually, but not always, UTF-8.
///
/// HTTP allows bytes that are not UTF-8 in a path or a field value, so a value is not a `str`. It compares with text
/// and with bytes, and dereferences to `[u8]`. It borrows from the request where it can.
///
/// ```
/// use amboss_core::{AppError, Body, Environ, StartResponse};
///
/// fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     let path = environ.path();
///     let user = path.strip_prefix("/users/");
///     let (status, text) = match path.to_str() {
///         _ if path == "/" || path == b"/index.html" => ("200 OK", "Hello world!\n".to_owned()),
///         _ if user.is_some() => ("200 OK", format!("{}\n", user.unwrap_or_default())),
///         Ok("/about") => ("200 OK", "About us.\n".to_owned()),
///         _ => ("404 Not Found", format!("{path} is not here.\n")),
///     };
///     start_response.start(status, &[("Content-Type", "text/plain")])?;
///     Ok(Body::from(text))
/// }
/// # fn is_application(_: impl amboss_core::Application) {}
/// # is_application(app);
/// ```
///
/// `Display` replaces bytes that are not UTF-8 with U+FFFD; `Debug` escapes them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteStr<'a>(Cow<'a, [u8]>);

impl<'a> ByteStr<'a> {
    pub(super) fn new(bytes: impl Into<Cow<'a, [u8]>>) -> ByteStr<'a> {
        ByteStr(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if the bytes are UTF-8.
    ///
    /// # Errors
    /// If they are not.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// The text; bytes that are not UTF-8 are replaced with U+FFFD.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether the value begins with `prefix`, which is text or bytes.
    pub fn starts_with(&self, prefix: impl AsRef<[u8]>) -> bool {
        self.0.starts_with(prefix.as_ref())
    }

    /// The part after `prefix`, which is text or bytes; `None` if the value does not begin with it.
    pub fn strip_prefix(&self, prefix: impl AsRef<[u8]>) -> Option<ByteStr<'_>> {
        self.0.strip_prefix(prefix.as_ref()).map(ByteStr::new)
    }

    /// Converts into the bytes; copies them if they are borrowed.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_owned()
    }

    /// Converts into a value that borrows nothing, so that it can outlive the request or the next change of the
    /// environ.
    pub fn into_owned(self) -> ByteStr<'static> {
        ByteStr(Cow::Owned(self.into_bytes()))
    }

    /// Converts into text; bytes that are not UTF-8 are replaced with U+FFFD.
    pub(super) fn into_string_lossy(self) -> Cow<'a, str> {
        match self.0 {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Cow::Owned(text),
                Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            },
        }
    }
}

impl Deref for ByteStr<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ByteStr<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ByteStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_string_lossy().fmt(f)
    }
}

impl fmt::Debug for ByteStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<ByteStr<'_>> for Vec<u8> {
    fn from(value: ByteStr<'_>) -> Vec<u8> {
        value.into_bytes()
    }
}

impl<'a> From<ByteStr<'a>> for Cow<'a, [u8]> {
    fn from(value: ByteStr<'a>) -> Cow<'a, [u8]> {
        value.0
    }
}

/// Comparisons with text and bytes. The types without a size, `str` and `[u8]`, are left out: `value == "/a"` does not
/// need them, and with them clippy would reject `value == &bytes[..]`.
macro_rules! compares_with {
    ($({$($parameter:tt)*} $other:ty;)*) => {
        $(impl<$($parameter)*> PartialEq<$other> for ByteStr<'_> {
            fn eq(&self, other: &$other) -> bool {
                let other: &[u8] = other.as_ref();
                self.as_bytes() == other
            }
        })*
    };
}

compares_with! {
    {} &str;
    {} String;
    {} &[u8];
    {} Vec<u8>;
    {const N: usize} [u8; N];
    {const N: usize} &[u8; N];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_compares_with_text_and_with_bytes() {
        let value = ByteStr::new(&b"/a"[..]);
        let (text, bytes) = ("/a".to_owned(), b"/a".to_vec());
        assert!(value == "/a" && value == text.as_str() && value == text);
        assert!(value == b"/a" && value == *b"/a" && value == &bytes[..] && value == bytes);
        assert!(value != "/A" && value != b"/b" && value != "/a/" && *value == b"/a"[..]);
        assert_eq!(value, ByteStr::new(b"/a".to_vec()), "borrowed and owned values are equal");
        assert_eq!(value.len(), 2, "a value dereferences to bytes");
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_still_printed_and_compared() {
        let value = ByteStr::new(&b"/\xe4"[..]);
        assert!(value.to_str().is_err() && value == b"/\xe4" && value != "/\u{e4}");
        assert_eq!((value.to_string().as_str(), format!("{value:?}").as_str()), ("/\u{fffd}", "\"/\\xe4\""));
        assert_eq!(
            (value.to_string_lossy(), value.clone().into_string_lossy()),
            ("/\u{fffd}".into(), "/\u{fffd}".into())
        );
        assert_eq!(value.clone().into_owned().into_string_lossy(), "/\u{fffd}");
        assert_eq!(Vec::from(value), b"/\xe4");
    }

    #[test]
    fn a_prefix_is_text_or_bytes() {
        let value = ByteStr::new(&b"/app/page"[..]);
        assert!(value.starts_with("/app") && value.starts_with(b"/app") && !value.starts_with("/b"));
        assert_eq!(value.strip_prefix("/app"), Some(ByteStr::new(&b"/page"[..])));
        assert_eq!(value.strip_prefix(b"/b"), None);
        assert_eq!(value.to_str(), Ok("/app/page"));
    }
}
