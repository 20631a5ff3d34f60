//! Recognises responses that are HTML pages, and changes their heads for the script that is appended.

use amboss_core::{AppError, DetachedId, ResponseFilter, StartError, StartResponse};

use super::script_tag::{Encoding, ScriptTag};

/// Wraps the `start_response` of an application, to change the heads of its pages for their script.
pub(super) struct HtmlInjector<'a> {
    inner: &'a mut dyn StartResponse,
    script: Option<PageScript>,
}

/// The script that follows a response, if that is an HTML page. The head of a page gets a Content-Length that is raised by
/// the length of the script, and `no-store` in place of the caching fields: a page from a cache would name old code.
pub(super) struct PageScript {
    tag: ScriptTag,
    page: Option<HtmlPage>,
}

/// An HTML page that has begun.
struct HtmlPage {
    /// The encoding that its Content-Type declares.
    encoding: Encoding,
    /// The first bytes that were written, up to the length of a byte order mark. The rest may be in the body.
    prefix: Vec<u8>,
}

impl<'a> HtmlInjector<'a> {
    pub(super) fn new(inner: &'a mut dyn StartResponse, tag: ScriptTag) -> HtmlInjector<'a> {
        HtmlInjector { inner, script: Some(PageScript { tag, page: None }) }
    }

    /// Returns the script of the page that has begun, if the response is one.
    pub(super) fn into_script(self) -> Option<PageScript> {
        self.script.filter(|script| script.page.is_some())
    }
}

impl PageScript {
    /// Returns the fields of a page's head with the changes; `None` if the response is no page, or can't grow.
    fn changed_fields(&self, fields: &[(&str, &[u8])]) -> Option<Vec<(String, Vec<u8>)>> {
        const CACHING_FIELDS: [&str; 4] = ["Cache-Control", "Expires", "ETag", "Last-Modified"];
        if !is_html_page(fields) {
            return None;
        }
        let mut changed = Vec::with_capacity(fields.len() + 1);
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("Content-Length") {
                // The server refuses a value that is not a length.
                changed.push(((*name).to_owned(), raised_length(value, self.tag.len() as u64)?));
            } else if !CACHING_FIELDS.iter().any(|caching| name.eq_ignore_ascii_case(caching)) {
                changed.push(((*name).to_owned(), value.to_vec()));
            }
        }
        changed.push(("Cache-Control".to_owned(), b"no-store".to_vec()));
        Some(changed)
    }

    /// Notes that a response has begun with these fields. `is_page`: whether they were changed.
    fn note_head(&mut self, fields: &[(&str, &[u8])], is_page: bool) {
        let content_type = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
        let encoding = content_type.map_or(Encoding::Ascii, |(_, value)| Encoding::from_content_type(value));
        self.page = is_page.then(|| HtmlPage { encoding, prefix: Vec::new() });
    }

    fn note_written(&mut self, data: &[u8]) {
        if let Some(HtmlPage { prefix, .. }) = &mut self.page {
            let missing = Encoding::BOM_LEN - prefix.len().min(Encoding::BOM_LEN);
            prefix.extend_from_slice(&data[..missing.min(data.len())]);
        }
    }

    /// Returns the script. `first` are the first bytes of the body that were not written before.
    pub(super) fn after(self, first: &[u8]) -> Vec<u8> {
        let Some(HtmlPage { encoding, mut prefix }) = self.page else { return Vec::new() };
        prefix.extend_from_slice(first);
        self.tag.encoded(encoding.or_from_bom(&prefix))
    }
}

impl ResponseFilter for PageScript {
    fn head(&mut self, fields: &[(&str, &[u8])]) -> Option<Vec<(String, Vec<u8>)>> {
        let changed = self.changed_fields(fields);
        self.note_head(fields, changed.is_some());
        changed
    }

    fn block(&mut self, block: &[u8]) {
        self.note_written(block);
    }

    fn end(&mut self) -> Vec<u8> {
        let Some(HtmlPage { encoding, prefix }) = self.page.take() else { return Vec::new() };
        self.tag.encoded(encoding.or_from_bom(&prefix))
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
        let Some(script) = &mut self.script else { return self.inner.begin(status, fields, error) };
        let changed = script.changed_fields(fields);
        let borrowed: Option<Vec<(&str, &[u8])>> =
            changed.as_ref().map(|changed| changed.iter().map(|(name, value)| (&**name, &**value)).collect());
        self.inner.begin(status, borrowed.as_deref().unwrap_or(fields), error)?;
        script.note_head(fields, changed.is_some());
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        if let Some(script) = &mut self.script {
            script.note_written(data);
        }
        self.inner.write(data)
    }

    fn detach(&mut self, mut filters: Vec<Box<dyn ResponseFilter>>) -> Option<DetachedId> {
        filters.extend(self.script.take().map(|script| Box::new(script) as Box<dyn ResponseFilter>));
        self.inner.detach(filters)
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
        let tag = || ScriptTag::new("/live.js".into());
        let longer = tag().len() as u64;
        let [longest, largest, too_large] = [0, longer, longer - 1].map(|less| (u64::MAX - less).to_string());
        for (length, can_grow) in [
            ("5", true),
            (" 5 ", true),
            (&largest, true),
            (&too_large, false),
            (&longest, false),
            ("18446744073709551616", false),
            ("+5", false),
            ("x", false),
            ("", false),
        ] {
            let mut head = RecordedHead(Vec::new());
            let mut injector = HtmlInjector::new(&mut head, tag());
            let fields = [("Content-Type", &b"text/html"[..]), ("Content-Length", length.as_bytes())];
            injector.begin("200 OK", &fields, None).unwrap();
            assert_eq!(injector.into_script().is_some(), can_grow, "{length:?}");
            let grown = length.trim().parse::<u64>().ok().filter(|_| can_grow).map(|it| (it + longer).to_string());
            let length = format!("Content-Length: {}", grown.as_deref().unwrap_or(length));
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
