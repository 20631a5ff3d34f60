//! Which responses are pages, and the head of one that becomes longer.

use amboss_core::{AppError, StartError, StartResponse};

/// Notices pages, whose length is no longer what the application says, and which no cache may keep: the name of the
/// code in them would be an old one.
pub(super) struct Pages<'a> {
    inner: &'a mut dyn StartResponse,
    longer: usize,
    page: bool,
}

impl<'a> Pages<'a> {
    /// Each page gets so many bytes more.
    pub(super) fn new(inner: &'a mut dyn StartResponse, longer: usize) -> Pages<'a> {
        Pages { inner, longer, page: false }
    }

    /// Was the response that has begun one?
    pub(super) fn is_page(&self) -> bool {
        self.page
    }
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
        if !is_page(fields) {
            self.inner.begin(status, fields, error)?;
            self.page = false;
            return Ok(());
        }
        let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<usize>().ok();
        let longer = |value: &[u8]| number(value).map(|length| (length + self.longer).to_string().into_bytes());
        let lengths: Vec<Option<Vec<u8>>> = fields
            .iter()
            .map(|(key, value)| key.eq_ignore_ascii_case("Content-Length").then(|| longer(value)).flatten())
            .collect();
        const ABOUT_CACHES: [&str; 4] = ["Cache-Control", "Expires", "ETag", "Last-Modified"];
        let mut changed: Vec<(&str, &[u8])> = fields
            .iter()
            .zip(&lengths)
            .filter(|((key, _), _)| !ABOUT_CACHES.iter().any(|name| key.eq_ignore_ascii_case(name)))
            .map(|((key, value), length)| (*key, length.as_deref().unwrap_or(value)))
            .collect();
        changed.push(("Cache-Control", b"no-store"));
        self.inner.begin(status, &changed, error)?;
        self.page = true;
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        self.inner.write(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
