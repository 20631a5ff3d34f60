//! The response for an open file.

use std::fs::{File, Metadata};
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amboss_core::{AppError, Body, Environ, StartResponse};

use crate::error::HttpError;
use crate::media_type;
use crate::negotiation::coding::Coding;
use crate::negotiation::{ByteRanges, Conditions, Outcome, Resolved, Validators};

use super::multipart::Multipart;
use super::read_at::read_exact_at;
use super::token::random_token;
use super::validators;

/// Files and ranges up to this many bytes are read into memory, so that they are sent with the head in one system call.
/// A file that is sent by `sendfile` needs three calls more; above this size, copying its bytes costs more than those.
const READ_MAX: u64 = 16 * 1024;

/// A file to be sent.
pub(super) struct Source<'a> {
    pub file: File,
    pub metadata: Metadata,
    /// The name whose extension tells the media type.
    pub name: &'a [u8],
    pub coding: Option<Coding>,
    pub cache_control: &'a str,
    pub vary: Option<&'static str>,
}

/// What a response with content says about it.
struct Content<'a> {
    media_type: &'a str,
    length: u64,
    /// Content-Range
    range: Option<String>,
}

impl Source<'_> {
    /// Answers a GET or HEAD request with the file, or with 304, 412 or 416.
    pub fn respond(self, environ: &Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let (method, length) = (environ.method(), self.metadata.len());
        let conditions = Conditions::of(environ);
        let now = SystemTime::now();
        let current = validators::of(&self.metadata, self.coding.map_or("", Coding::extension), now);
        let range = match conditions.evaluate(&method, &current) {
            Outcome::Proceed => conditions.applicable_range(&method, &current, now),
            Outcome::NotModified => {
                self.start("304 Not Modified", &current, None, start_response)?;
                return Ok(Body::empty());
            }
            Outcome::PreconditionFailed => return HttpError::new(412).respond(start_response),
        };
        match range.and_then(ByteRanges::parse).map_or(Resolved::Whole, |ranges| ranges.resolve(length)) {
            Resolved::Whole => self.whole(&current, method == "HEAD", start_response),
            Resolved::Parts(parts) => match <[Range<u64>; 1]>::try_from(parts) {
                Ok([part]) => self.part(&current, part, start_response),
                Err(parts) => self.parts(&current, parts, start_response),
            },
            Resolved::Unsatisfiable => {
                let whole = format!("bytes */{length}");
                HttpError::new(416).with_header("Content-Range", whole).respond(start_response)
            }
        }
    }

    fn whole(self, current: &Validators, is_head: bool, start: &mut dyn StartResponse) -> Result<Body, AppError> {
        let (media_type, length) = (media_type::of(self.name), self.metadata.len());
        let content = Content { media_type: &media_type, length, range: None };
        self.start("200 OK", current, Some(&content), start)?;
        if is_head {
            return Ok(Body::empty());
        }
        read_or_send(self.file, 0..length)
    }

    fn part(self, current: &Validators, part: Range<u64>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
        let media_type = media_type::of(self.name);
        let range = Some(format!("bytes {}-{}/{}", part.start, part.end - 1, self.metadata.len()));
        let content = Content { media_type: &media_type, length: part.end - part.start, range };
        self.start("206 Partial Content", current, Some(&content), start)?;
        read_or_send(self.file, part)
    }

    fn parts(
        self,
        current: &Validators,
        parts: Vec<Range<u64>>,
        start: &mut dyn StartResponse,
    ) -> Result<Body, AppError> {
        // A boundary that can't be predicted can't have been put into the file.
        let boundary = random_token();
        let multipart = Multipart::new(parts, &boundary, &media_type::of(self.name), self.metadata.len());
        let media_type = format!("multipart/byteranges; boundary={boundary}");
        let content = Content { media_type: &media_type, length: multipart.length(), range: None };
        self.start("206 Partial Content", current, Some(&content), start)?;
        Ok(multipart.into_body(self.file))
    }

    fn start(
        &self,
        status: &str,
        current: &Validators,
        content: Option<&Content<'_>>,
        start_response: &mut dyn StartResponse,
    ) -> Result<(), AppError> {
        let etag = current.etag.as_ref().map(ToString::to_string);
        let last_modified = current.last_modified.map(|time| UNIX_EPOCH + Duration::from_secs(time));
        let last_modified = last_modified.map(httpdate::fmt_http_date);
        let length = content.map(|content| content.length.to_string());
        // RFC 9110 §15.4.5: a 304 has the fields that a cache needs, and none about the content.
        let fields = [
            ("Content-Type", content.map(|content| content.media_type)),
            ("Content-Length", length.as_deref()),
            ("Content-Range", content.and_then(|content| content.range.as_deref())),
            ("Content-Encoding", self.coding.filter(|_| content.is_some()).map(Coding::name)),
            ("X-Content-Type-Options", content.map(|_| "nosniff")),
            ("Accept-Ranges", content.map(|_| "bytes")),
            ("ETag", etag.as_deref()),
            ("Last-Modified", last_modified.as_deref()),
            ("Cache-Control", Some(self.cache_control)),
            ("Vary", self.vary),
        ];
        let mut present = [("", &b""[..]); 10];
        let mut count = 0;
        for (name, value) in fields {
            if let Some(value) = value {
                present[count] = (name, value.as_bytes());
                count += 1;
            }
        }
        Ok(start_response.begin(status, &present[..count], None)?)
    }
}

fn read_or_send(mut file: File, range: Range<u64>) -> Result<Body, AppError> {
    let length = range.end - range.start;
    if length <= READ_MAX {
        return Ok(Body::from(read_exact_at(&mut file, range.start, length)?));
    }
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start))?;
    }
    Ok(Body::file_range(file, length))
}
