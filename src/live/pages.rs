//! Which responses are pages, and the head of one that becomes longer.

use amboss_core::{AppError, StartError, StartResponse};

use super::script::Encoding;

/// Notices pages, whose length is no longer what the application says, and which no cache may keep: the name of the
/// code in them would be an old one.
pub(super) struct Pages<'a> {
    inner: &'a mut dyn StartResponse,
    longer: u64,
    page: Option<Page>,
}

/// A response that is a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// As its fields say.
    pub(super) encoding: Encoding,
    /// Its first bytes, as far as they went by: more may be in the body.
    pub(super) start: Vec<u8>,
}

impl<'a> Pages<'a> {
    /// Each page gets so many bytes more.
    pub(super) fn new(inner: &'a mut dyn StartResponse, longer: usize) -> Pages<'a> {
        Pages { inner, longer: longer as u64, page: None }
    }

    /// The page that has begun, if the response is one.
    pub(super) fn page(self) -> Option<Page> {
        self.page
    }
}

/// A Content-Length (RFC 9110 §8.6) with so much more; `None` when it is none, or does not fit.
fn longer(value: &[u8], more: u64) -> Option<Vec<u8>> {
    let digits = value.trim_ascii();
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let length: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(length.checked_add(more)?.to_string().into_bytes())
}

/// HTML that a browser shows: not what is compressed, a part, or to be saved.
fn is_page(fields: &[(&str, &[u8])]) -> bool {
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

impl StartResponse for Pages<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let is_length = |key: &str| key.eq_ignore_ascii_case("Content-Length");
        let lengths: Vec<Option<Vec<u8>>> =
            fields.iter().map(|(key, value)| is_length(key).then(|| longer(value, self.longer)).flatten()).collect();
        // What is no length, or has no room for more, is the server's to refuse.
        let can_grow = fields.iter().zip(&lengths).all(|((key, _), length)| length.is_some() || !is_length(key));
        if !can_grow || !is_page(fields) {
            self.inner.begin(status, fields, error)?;
            self.page = None;
            return Ok(());
        }
        const ABOUT_CACHES: [&str; 4] = ["Cache-Control", "Expires", "ETag", "Last-Modified"];
        let mut changed: Vec<(&str, &[u8])> = fields
            .iter()
            .zip(&lengths)
            .filter(|((key, _), _)| !ABOUT_CACHES.iter().any(|name| key.eq_ignore_ascii_case(name)))
            .map(|((key, value), length)| (*key, length.as_deref().unwrap_or(value)))
            .collect();
        changed.push(("Cache-Control", b"no-store"));
        self.inner.begin(status, &changed, error)?;
        let html = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case("Content-Type"));
        let encoding = html.map_or(Encoding::Ascii, |(_, value)| Encoding::of_type(value));
        self.page = Some(Page { encoding, start: Vec::new() });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        if let Some(Page { start, .. }) = &mut self.page {
            let lacking = Encoding::MARK - start.len().min(Encoding::MARK);
            start.extend_from_slice(&data[..lacking.min(data.len())]);
        }
        self.inner.write(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Begun(Vec<String>);

    impl StartResponse for Begun {
        fn begin(&mut self, _: &str, fields: &[(&str, &[u8])], _: Option<&AppError>) -> Result<(), StartError> {
            self.0 = fields.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect();
            Ok(())
        }

        fn write(&mut self, _: &[u8]) -> Result<(), StartError> {
            Ok(())
        }
    }

    #[test]
    fn a_length_that_can_t_grow_is_left_alone_with_its_page() {
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
            let mut begun = Begun(Vec::new());
            let mut pages = Pages::new(&mut begun, 10);
            let fields = [("Content-Type", &b"text/html"[..]), ("Content-Length", length.as_bytes())];
            pages.begin("200 OK", &fields, None).unwrap();
            let page = pages.page();
            assert_eq!(page.is_some(), expected.is_some(), "{length:?}");
            let length = format!("Content-Length: {}", expected.unwrap_or(length));
            assert!(begun.0.contains(&length), "{length} in {:?}", begun.0);
        }
    }

    #[test]
    fn only_html_that_is_shown_as_it_is_counts() {
        let html: (&str, &[u8]) = ("content-type", b"Text/HTML; charset=utf-8");
        assert!(is_page(&[html]));
        assert!(is_page(&[html, ("Content-Disposition", b"inline")]));
        for other in [
            &[("Content-Type", &b"text/plain"[..])][..],
            &[],
            &[html, ("Content-Encoding", b"gzip")],
            &[html, ("content-range", b"bytes 0-1/2")],
            &[html, ("Content-Disposition", b"attachment; filename=a.html")],
        ] {
            assert!(!is_page(other), "{other:?}");
        }
    }
}
