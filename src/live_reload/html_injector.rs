//! Recognises responses that are HTML pages, and changes their heads for the script that is appended.

use amboss_core::{AppError, StartError, StartResponse};

use super::script_tag::Encoding;

/// Wraps the `start_response` of an application. For an HTML page it raises the Content-Length by the length of the
/// script, and replaces the caching fields by `no-store`: a page from a cache would name old code.
pub(super) struct HtmlInjector<'a> {
    inner: &'a mut dyn StartResponse,
    script_len: u64,
    response: Option<HtmlResponse>,
}

/// An HTML page that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HtmlResponse {
    /// The encoding that its Content-Type declares.
    pub(super) encoding: Encoding,
    /// The first bytes that went through `write`, up to the length of a byte order mark. The rest may be in the body.
    pub(super) prefix: Vec<u8>,
}

impl<'a> HtmlInjector<'a> {
    /// `script_len` is how many bytes are appended to each page.
    pub(super) fn new(inner: &'a mut dyn StartResponse, script_len: usize) -> HtmlInjector<'a> {
        HtmlInjector { inner, script_len: script_len as u64, response: None }
    }

    /// Returns the page that has begun, if the response is one.
    pub(super) fn response(self) -> Option<HtmlResponse> {
        self.response
    }
}

/// Returns a Content-Length (RFC 9110 §8.6) that is raised by `more`; `None` if the value is not a number or the sum
/// does not fit.
fn raised_length(value: &[u8], more: u64) -> Option<Vec<u8>> {
    let digits = value.trim_ascii();
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let length: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(length.checked_add(more)?.to_string().into_bytes())
}

/// Whether a response is an HTML page that a browser shows: neither compressed, nor a part, nor a download.
fn is_html_page(fields: &[(&str, &[u8])]) -> bool {
    let begins = |name: &str, prefix: &str| {
        fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).any(|(_, value)| {
            value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        })
    };
    begins("Content-Type", "text/html")
        && !begins("Content-Encoding", "")
        && !begins("Content-Range", "")
        && !begins("Content-Disposition", "attachment")
}

impl StartResponse for HtmlInjector<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let is_length = |key: &str| key.eq_ignore_ascii_case("Content-Length");
        let raise = |key: &str, value: &[u8]| is_length(key).then(|| raised_length(value, self.script_len)).flatten();
        let lengths: Vec<Option<Vec<u8>>> = fields.iter().map(|(key, value)| raise(key, value)).collect();
        // The server refuses a value that is not a length.
        let can_grow = fields.iter().zip(&lengths).all(|((key, _), length)| length.is_some() || !is_length(key));
        if !can_grow || !is_html_page(fields) {
            self.inner.begin(status, fields, error)?;
            self.response = None;
            return Ok(());
        }
        const CACHING_FIELDS: [&str; 4] = ["Cache-Control", "Expires", "ETag", "Last-Modified"];
        let mut changed: Vec<(&str, &[u8])> = fields
            .iter()
            .zip(&lengths)
            .filter(|((key, _), _)| !CACHING_FIELDS.iter().any(|name| key.eq_ignore_ascii_case(name)))
            .map(|((key, value), length)| (*key, length.as_deref().unwrap_or(value)))
            .collect();
        changed.push(("Cache-Control", b"no-store"));
        self.inner.begin(status, &changed, error)?;
        let content_type = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case("Content-Type"));
        let encoding = content_type.map_or(Encoding::Ascii, |(_, value)| Encoding::from_content_type(value));
        self.response = Some(HtmlResponse { encoding, prefix: Vec::new() });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        if let Some(HtmlResponse { prefix, .. }) = &mut self.response {
            let missing = Encoding::BOM_LEN - prefix.len().min(Encoding::BOM_LEN);
            prefix.extend_from_slice(&data[..missing.min(data.len())]);
        }
        self.inner.write(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct RecordedHead(Vec<String>);

    impl StartResponse for RecordedHead {
        fn begin(&mut self, _: &str, fields: &[(&str, &[u8])], _: Option<&AppError>) -> Result<(), StartError> {
            self.0 = fields.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect();
            Ok(())
        }

        fn write(&mut self, _: &[u8]) -> Result<(), StartError> {
            Ok(())
        }
    }

    #[test]
    fn a_page_whose_length_cannot_grow_is_left_unchanged() {
        let longest = u64::MAX.to_string();
        for (length, expected) in [
            ("5", Some("15")),
            (" 5 ", Some("15")),
            ("18446744073709551605", Some("18446744073709551615")),
            ("18446744073709551606", None),
            (&longest, None),
            ("18446744073709551616", None),
            ("+5", None),
            ("x", None),
            ("", None),
        ] {
            let mut head = RecordedHead(Vec::new());
            let mut injector = HtmlInjector::new(&mut head, 10);
            let fields = [("Content-Type", &b"text/html"[..]), ("Content-Length", length.as_bytes())];
            injector.begin("200 OK", &fields, None).unwrap();
            let response = injector.response();
            assert_eq!(response.is_some(), expected.is_some(), "{length:?}");
            let length = format!("Content-Length: {}", expected.unwrap_or(length));
            assert!(head.0.contains(&length), "{length} in {:?}", head.0);
        }
    }

    #[test]
    fn only_html_that_a_browser_shows_is_a_page() {
        let html: (&str, &[u8]) = ("content-type", b"Text/HTML; charset=utf-8");
        assert!(is_html_page(&[html]));
        assert!(is_html_page(&[html, ("Content-Disposition", b"inline")]));
        for other in [
            &[("Content-Type", &b"text/plain"[..])][..],
            &[],
            &[html, ("Content-Encoding", b"gzip")],
            &[html, ("content-range", b"bytes 0-1/2")],
            &[html, ("Content-Disposition", b"attachment; filename=a.html")],
        ] {
            assert!(!is_html_page(other), "{other:?}");
        }
    }
}
