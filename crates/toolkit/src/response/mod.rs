//! [`Response`]: status, header fields and body.

mod cookies;

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use amboss_core::http::reason_phrase;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};
use percent_encoding::{utf8_percent_encode, AsciiSet, CONTROLS};

use crate::form::secure_filename;
use crate::headers::Headers;
use crate::media_type;

/// A response: status, header fields and body.
///
/// ```
/// use amboss_toolkit::Response;
/// let page = Response::html("<h1>Hello</h1>").with_header("Cache-Control", "no-store");
/// let moved = Response::redirect("/new").with_status(308);
/// let rows = Response::stream((0..3).map(|row| format!("{row}\n").into_bytes()), "text/csv");
/// assert_eq!((page.status(), moved.status(), rows.status()), (200, 308, 200));
/// ```
///
/// A response is an application, too, which answers every request alike. A response of bytes can be sent any number of
/// times; a stream or a file once, and an error afterwards.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) content: Content,
}

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Cow<'static, [u8]>),
    /// A stream or a file, which can be sent once. The mutex makes a response `Sync`.
    Once(Mutex<Option<Body>>),
}

/// The bytes of a `Location` that are percent-encoded: those that RFC 3986 allows in no URI reference. `%` is left, so
/// that an encoded URI stays as it is.
const NOT_IN_URIS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

impl Response {
    /// Makes a response with status 200 and this body, without header fields.
    pub fn new(body: Body) -> Response {
        Response { status: 200, headers: Headers::default(), content: Content::Once(Mutex::new(Some(body))) }
    }

    /// Makes a response with this status and without a body.
    pub fn empty(status: u16) -> Response {
        Response::bytes(&b""[..]).with_status(status)
    }

    /// Makes a response of bytes, without header fields.
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Response {
        Response { status: 200, headers: Headers::default(), content: Content::Bytes(bytes.into()) }
    }

    /// Makes a response of plain text in UTF-8.
    pub fn text(text: impl Into<String>) -> Response {
        Response::bytes(text.into().into_bytes()).with_header("Content-Type", "text/plain; charset=utf-8")
    }

    /// Makes a page in HTML and UTF-8.
    pub fn html(html: impl Into<String>) -> Response {
        Response::bytes(html.into().into_bytes()).with_header("Content-Type", "text/html; charset=utf-8")
    }

    /// Makes a redirect with status 302 to a URI reference (RFC 9110 §10.2.2): a path such as `/login`, or a whole URI.
    /// Spaces and letters beyond ASCII are percent-encoded. Other usual statuses are 303 (the next request is a GET),
    /// 307 and 308 (the method stays).
    ///
    /// A location that is taken from a request has to be checked first: `//evil.example` is another host.
    pub fn redirect(location: impl AsRef<str>) -> Response {
        let location = utf8_percent_encode(location.as_ref(), NOT_IN_URIS).to_string();
        let link = html_escape::encode_double_quoted_attribute(&location);
        Response::html(format!(
            "<!doctype html>\n<html lang=\"en\">\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n\
             <p>The page is at <a href=\"{link}\">{link}</a>.</p>\n"
        ))
        .with_status(302)
        .with_header("Location", location)
    }

    /// Makes a response that sends each block as soon as the iterator returns it.
    pub fn stream<I>(blocks: I, content_type: &str) -> Response
    where
        I: IntoIterator<Item = Vec<u8>>,
        I::IntoIter: Send + 'static,
    {
        Response::new(Body::iter(blocks)).with_header("Content-Type", content_type)
    }

    /// Makes a response of a file, with the media type of its extension. `files::Folder` serves whole folders, and
    /// answers conditional requests and ranges.
    ///
    /// The path must not come from the client.
    ///
    /// # Errors
    /// If the file can't be opened, or is a folder, a pipe or a device.
    pub fn file(path: impl AsRef<Path>) -> std::io::Result<Response> {
        let path = path.as_ref();
        // Opening a pipe would wait for its writer, and a folder can be opened, but not read.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other(format!("{} is not a regular file", path.display())));
        }
        let media_type = media_type::of(path.file_name().unwrap_or_default().as_encoded_bytes());
        Ok(Response::new(Body::file(File::open(path)?)).with_header("Content-Type", &*media_type))
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The header fields, for changing them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The body of a response of bytes; `None` for a stream or a file.
    pub fn data(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::Once(_) => None,
        }
    }

    /// Sets the status code.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// Sets a header field; it replaces fields with the same name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Response {
        self.headers.set(name, value);
        self
    }

    /// Makes browsers save the response as a file of this name (RFC 6266). Programs that know no other names than those
    /// of ASCII get one without the other characters.
    #[must_use]
    pub fn with_download_name(self, name: &str) -> Response {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'%') || byte == b' ';
        let value = if name.bytes().all(is_plain) {
            format!("attachment; filename=\"{name}\"")
        } else {
            let encoded = utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            let plain = secure_filename(name);
            let plain = if plain.is_empty() { "download" } else { &plain };
            format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
        };
        self.with_header("Content-Disposition", value)
    }

    /// Sends the response: calls `start_response` and returns the body.
    ///
    /// # Errors
    /// A status or a field that can't be sent.
    pub fn respond(self, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.start(start_response)?;
        Ok(match self.content {
            Content::Bytes(Cow::Borrowed(bytes)) => Body::from(bytes),
            Content::Bytes(Cow::Owned(bytes)) => Body::from(bytes),
            Content::Once(body) => {
                body.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Body::empty)
            }
        })
    }

    fn start(&self, start_response: &mut dyn StartResponse) -> Result<(), AppError> {
        let status = format!("{} {}", self.status, reason_phrase(self.status));
        let fields: Vec<_> = self.headers.iter().collect();
        Ok(start_response.begin(&status, &fields, None)?)
    }
}

impl Application for Response {
    fn call(&self, _: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let body = match &self.content {
            Content::Bytes(Cow::Borrowed(bytes)) => Body::from(*bytes),
            Content::Bytes(Cow::Owned(bytes)) => Body::from(bytes.clone()),
            Content::Once(body) => body
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .ok_or("a response with a stream or a file can be sent only once; make one for each request")?,
        };
        self.start(start_response)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amboss_core::{create_environ, run_wsgi_app, AppResponse};
    use std::io::Write;

    fn send(response: &Response) -> AppResponse {
        run_wsgi_app(response, &mut create_environ("/", "http://localhost").unwrap().environ()).unwrap()
    }

    #[test]
    fn each_constructor_sets_status_type_and_body() {
        let mut file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        file.write_all(b"{}").unwrap();
        let blocks = [b"a".to_vec(), b"b".to_vec()];
        for (response, status, media_type, body) in [
            (Response::text("a"), 200, "text/plain; charset=utf-8", "a"),
            (Response::html("<p>"), 200, "text/html; charset=utf-8", "<p>"),
            (Response::stream(blocks, "text/csv"), 200, "text/csv", "ab"),
            (Response::file(file.path()).unwrap(), 200, "application/json; charset=utf-8", "{}"),
            (Response::text("a").with_status(201).with_header("content-type", "x/y"), 201, "x/y", "a"),
        ] {
            let sent = send(&response);
            assert_eq!((sent.status, sent.body.as_slice()), (status, body.as_bytes()));
            assert_eq!(sent.header("Content-Type"), Some(media_type.as_bytes()));
        }
        assert!(Response::file("/nowhere").is_err());
        let error = Response::file(std::env::temp_dir()).unwrap_err();
        assert!(error.to_string().ends_with("is not a regular file"), "{error}");
        assert!(send(&Response::empty(204)).fields.is_empty());
    }

    #[test]
    fn a_redirect_is_a_uri_in_field_and_page() {
        for (location, field) in [
            ("/login?next=%2Fa", "/login?next=%2Fa"),
            ("/ä b", "/%C3%A4%20b"),
            ("/\"><script>", "/%22%3E%3Cscript%3E"),
            ("/a\r\nSet-Cookie: b=c", "/a%0D%0ASet-Cookie:%20b=c"),
            ("https://example.org/?a=1&b=2#c", "https://example.org/?a=1&b=2#c"),
        ] {
            let sent = send(&Response::redirect(location));
            let page = String::from_utf8(sent.body.clone()).unwrap();
            assert_eq!((sent.status, sent.header("Location")), (302, Some(field.as_bytes())));
            assert!(page.contains(&field.replace('&', "&amp;")) && !page.contains("<script"), "{page}");
        }
    }

    #[test]
    fn a_response_of_bytes_is_sent_again_and_a_stream_is_not() {
        let bytes = Response::text("again");
        assert_eq!((send(&bytes).body, send(&bytes).body), (b"again".to_vec(), b"again".to_vec()));
        let stream = Response::stream([b"once".to_vec()], "text/plain");
        assert_eq!(send(&stream).body, b"once");
        let mut owned = create_environ("/", "http://localhost").unwrap();
        let error = run_wsgi_app(&stream, &mut owned.environ()).unwrap_err();
        assert!(error.to_string().contains("only once"), "{error}");
    }

    #[test]
    fn a_download_has_a_name_that_every_browser_reads() {
        for (name, field) in [
            ("report 1.pdf", "attachment; filename=\"report 1.pdf\""),
            ("Übersicht.pdf", "attachment; filename=\"Ubersicht.pdf\"; filename*=UTF-8''%C3%9Cbersicht%2Epdf"),
            ("a\"; x=\"b", "attachment; filename=\"a_xb\"; filename*=UTF-8''a%22%3B%20x%3D%22b"),
            ("50%.txt", "attachment; filename=\"50.txt\"; filename*=UTF-8''50%25%2Etxt"),
        ] {
            let response = Response::empty(200).with_download_name(name);
            assert_eq!(response.headers().get_str("Content-Disposition"), Some(field));
        }
    }
}
