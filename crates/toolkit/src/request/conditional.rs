//! Conditional responses: 304, 412 and 206 (RFC 9110 §13 and §14).

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Request;
use crate::error::HttpError;
use crate::negotiation::conditional::seconds_since_1970;
use crate::negotiation::{ByteRanges, Conditions, ETag, Outcome, Resolved, Validators};
use crate::response::{Content, Response};

/// The fields that describe a body, which a response 304 does not have (RFC 9110 §15.4.5).
const OF_THE_BODY: [&str; 5] =
    ["Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range"];

impl Response {
    /// Sets the entity tag.
    #[must_use]
    pub fn with_etag(self, etag: &ETag) -> Response {
        self.with_header("ETag", etag.to_string())
    }

    /// Sets an entity tag that is computed from the bytes of the body. A stream or a file gets none.
    #[must_use]
    pub fn with_computed_etag(self) -> Response {
        let Content::Bytes(bytes) = &self.content else { return self };
        // Two hashes of 64 bits, so that a collision by chance is out of the question.
        let tags = [0_u8, 1].map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(seed);
            hasher.write(bytes);
            hasher.finish()
        });
        self.with_etag(&ETag::strong(format!("{:016x}{:016x}", tags[0], tags[1])))
    }

    /// Sets the time of the last change.
    #[must_use]
    pub fn with_last_modified(self, time: SystemTime) -> Response {
        // Dates before 1970 can't be written as an HTTP-date by every implementation.
        // An HTTP-date has four digits for the year.
        let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        self.with_header("Last-Modified", httpdate::fmt_http_date(time.clamp(UNIX_EPOCH, latest)))
    }

    /// Makes the response of a request conditional, by the response's `ETag` and `Last-Modified`: 304 if the client has
    /// the current version, 412 if it expected another one, and 206 or 416 for a range of a response of bytes. Responses
    /// with other statuses than 200 stay as they are, and so do responses to other methods than GET and HEAD: the
    /// handler has already done what the client asked for. A handler that must refuse it first compares
    /// [`Request::if_match`](crate::Request::if_match) itself.
    ///
    /// ```
    /// use amboss_core::{run_wsgi_app, EnvironBuilder};
    /// use amboss_toolkit::{request_app, Response};
    ///
    /// let app = request_app(|request| {
    ///     Ok(Response::text("a long page").with_computed_etag().make_conditional(request))
    /// });
    /// let mut first = EnvironBuilder::new("/").build()?;
    /// let response = run_wsgi_app(&app, &mut first.environ())?;
    /// let etag = response.header("ETag").unwrap().to_vec();
    /// let mut second = EnvironBuilder::new("/").field("If-None-Match", etag).build()?;
    /// assert_eq!(run_wsgi_app(&app, &mut second.environ())?.status, 304);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn make_conditional(mut self, request: &Request<'_, '_>) -> Response {
        let method = request.environ().method();
        if self.status != 200 || !(method == "GET" || method == "HEAD") {
            return self;
        }
        let conditions = Conditions::of(request.environ());
        let last_modified = self.headers.get_str("Last-Modified").and_then(|date| httpdate::parse_http_date(date).ok());
        let current = Validators {
            etag: self.headers.get("ETag").and_then(ETag::parse),
            last_modified: last_modified.and_then(seconds_since_1970),
        };
        match conditions.evaluate(&method, &current) {
            Outcome::NotModified => {
                self.status = 304;
                OF_THE_BODY.iter().for_each(|name| self.headers.remove(name));
                self.content = Content::Bytes(Cow::Borrowed(b""));
                self
            }
            Outcome::PreconditionFailed => HttpError::new(412).into_response(),
            Outcome::Proceed => {
                let range =
                    conditions.applicable_range(&method, &current, SystemTime::now()).and_then(ByteRanges::parse);
                self.take_range(range)
            }
        }
    }

    /// Cuts a response of bytes to a range. Several separate ranges are answered with the whole, which is allowed
    /// (RFC 9110 §14.2).
    fn take_range(mut self, range: Option<ByteRanges>) -> Response {
        let Content::Bytes(bytes) = &self.content else { return self };
        let length = bytes.len() as u64;
        self.headers.set("Accept-Ranges", "bytes");
        let Some(range) = range else { return self };
        match range.resolve(length) {
            Resolved::Parts(ranges) if ranges.len() == 1 => {
                let (start, end) = (ranges[0].start, ranges[0].end);
                let Content::Bytes(bytes) = &self.content else { return self };
                let part = bytes[start as usize..end as usize].to_vec();
                self.headers.set("Content-Range", format!("bytes {start}-{}/{length}", end - 1));
                // That of the whole, if the handler has set it; the server sets that of the part.
                self.headers.remove("Content-Length");
                self.content = Content::Bytes(part.into());
                self.with_status(206)
            }
            Resolved::Unsatisfiable => {
                HttpError::new(416).with_header("Content-Range", format!("bytes */{length}")).into_response()
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_app;
    use amboss_core::{run_wsgi_app, AppResponse, EnvironBuilder};

    fn get(fields: &[(&str, &str)]) -> AppResponse {
        let changed = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let app = request_app(move |request| {
            let page = Response::text("0123456789").with_etag(&ETag::strong("a")).with_last_modified(changed);
            let page = page.with_header("Cache-Control", "no-cache").with_header("Content-Length", "10");
            Ok(page.make_conditional(request))
        });
        let mut builder = EnvironBuilder::new("/");
        for (name, value) in fields {
            builder = builder.field(*name, *value);
        }
        run_wsgi_app(&app, &mut builder.build().unwrap().environ()).unwrap()
    }

    #[test]
    fn a_response_is_what_the_conditions_and_the_range_ask_for() {
        for (fields, status, body) in [
            (&[][..], 200, "0123456789"),
            (&[("If-None-Match", "W/\"a\"")], 304, ""),
            (&[("If-None-Match", "\"b\"")], 200, "0123456789"),
            (&[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")], 304, ""),
            (&[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT")], 200, "0123456789"),
            (&[("Range", "bytes=2-4")], 206, "234"),
            (&[("Range", "bytes=-3")], 206, "789"),
            (&[("Range", "bytes=2-4,6-7")], 206, "234567"),
            (&[("Range", "bytes=2-4"), ("If-Range", "\"b\"")], 200, "0123456789"),
            (&[("Range", "bytes=2-4"), ("If-Range", "\"a\"")], 206, "234"),
            (&[("Range", "lines=2-4")], 200, "0123456789"),
        ] {
            let response = get(fields);
            assert_eq!((response.status, response.body.as_slice()), (status, body.as_bytes()), "{fields:?}");
            assert_eq!(response.header("ETag"), Some(&b"\"a\""[..]), "{fields:?}");
        }
        assert_eq!(get(&[("If-Match", "\"b\"")]).status, 412);
        let unsatisfiable = get(&[("Range", "bytes=10-")]);
        assert_eq!((unsatisfiable.status, unsatisfiable.header("Content-Range")), (416, Some(&b"bytes */10"[..])));
        let part = get(&[("Range", "bytes=2-4")]);
        assert_eq!(part.header("Content-Range"), Some(&b"bytes 2-4/10"[..]));
        assert_eq!(part.header("Content-Length"), None, "the whole has another length");
        let not_modified = get(&[("If-None-Match", "*")]);
        assert_eq!((not_modified.header("Content-Type"), not_modified.header("Cache-Control").is_some()), (None, true));
    }

    #[test]
    fn a_response_to_a_change_that_was_made_is_not_replaced() {
        // The client has replaced version "1", and the tag of the response is that of the new version.
        let app =
            request_app(|request| Ok(Response::text("saved").with_etag(&ETag::strong("2")).make_conditional(request)));
        for (method, name, value) in
            [("PUT", "If-Match", "\"1\""), ("POST", "If-None-Match", "*"), ("PUT", "Range", "bytes=0-1")]
        {
            let mut owned = EnvironBuilder::new("/").method(method).field(name, value).build().unwrap();
            let response = run_wsgi_app(&app, &mut owned.environ()).unwrap();
            assert_eq!((response.status, response.body.as_slice()), (200, &b"saved"[..]), "{method} {name}");
        }
    }

    #[test]
    fn a_time_that_no_date_can_express_is_the_nearest_one() {
        let day = Duration::from_secs(86_400);
        for (time, date) in [
            (UNIX_EPOCH - day, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (UNIX_EPOCH + day * 3_000_000, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let response = Response::empty(200).with_last_modified(time);
            assert_eq!(response.headers().get_str("Last-Modified"), Some(date));
        }
    }

    #[test]
    fn a_computed_tag_depends_on_the_bytes() {
        let tag = |text: &str| Response::text(text).with_computed_etag().headers().get_str("ETag").unwrap().to_owned();
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
        assert!(ETag::parse(tag("a").as_bytes()).is_some_and(|tag| !tag.is_weak()));
        let stream = Response::stream([b"a".to_vec()], "text/plain").with_computed_etag();
        assert!(!stream.headers().contains("ETag"));
    }
}
