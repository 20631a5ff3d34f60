//! [`Gzip`].

use std::io::Write;

use amboss_core::http::{allows_body, Head};
use amboss_core::{AppError, Application, Body, Environ, StartError, StartErrorKind, StartResponse};
use flate2::write::GzEncoder;
use flate2::Compression;

use crate::negotiation::coding::{accepted_codings, Coding};
use crate::negotiation::{ETag, ETags};

/// Middleware that compresses responses with gzip for clients that accept it (RFC 9110 §8.4.1.3).
///
/// Responses of at least [`minimum`](Gzip::minimum) bytes with a media type of text, JSON, JavaScript, XML, SVG or
/// WebAssembly are compressed, and streams block by block. Never compressed: responses that have a Content-Encoding or a
/// Content-Range, answers to a Range, event streams, responses with `Cache-Control: no-transform`, and what the
/// application sends with `write`.
///
/// A page that contains a secret and text from the request can leak the secret by its compressed length (BREACH); send
/// such pages with `Cache-Control: no-transform`.
#[derive(Clone, Debug)]
pub struct Gzip<A> {
    app: A,
    minimum: usize,
    level: u32,
}

impl<A: Application> Gzip<A> {
    /// Makes middleware that compresses responses of at least 1,024 bytes, which shorter ones hardly gain from, with
    /// level 6, gzip's default.
    pub fn new(app: A) -> Gzip<A> {
        Gzip { app, minimum: 1024, level: 6 }
    }

    /// Sets the minimum length of a response, in bytes.
    #[must_use]
    pub fn minimum(mut self, bytes: usize) -> Gzip<A> {
        self.minimum = bytes;
        self
    }

    /// Sets the level, from 1 (fast) to 9 (small). Other values are brought into this range.
    #[must_use]
    pub fn level(mut self, level: u32) -> Gzip<A> {
        self.level = level.clamp(1, 9);
        self
    }
}

impl<A: Application> Application for Gzip<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let accepts = environ
            .header("Accept-Encoding")
            .is_some_and(|field| accepted_codings(&field).any(|coding| coding == Coding::Gzip));
        let wanted = accepts && environ.header("Range").is_none();
        let known_tags = environ.header("If-None-Match").map(|field| ETags::parse(&field));
        let mut deferred = Deferred { inner: start_response, head: None, is_sent: false };
        let body = self.app.call(environ, &mut deferred)?;
        let Deferred { inner, head, is_sent } = deferred;
        let Some((status, mut fields)) = head.filter(|_| !is_sent) else { return Ok(body) };
        // A response 304 usually has no Content-Type.
        if status.starts_with("304") && (field(&fields, "content-type").is_none() || is_compressible("200", &fields)) {
            as_of_compressed(&mut fields, known_tags.as_ref());
        }
        let is_candidate = is_compressible(&status, &fields);
        if is_candidate {
            add_vary(&mut fields);
        }
        let is_head = environ.method() == "HEAD";
        let declared = field(&fields, "content-length").and_then(|length| length.trim().parse().ok());
        // The application may have left out the body of a response to HEAD.
        let is_left_out = is_head && body.byte_length() == Some(0);
        let mut length = if is_left_out { declared } else { body.byte_length().or(declared) };
        let may_compress = |length: Option<usize>| length.is_none_or(|length| length >= self.minimum);
        let is_unknown = is_left_out && declared.is_none();
        if !wanted || !is_candidate || is_unknown || !may_compress(length) {
            send(inner, &status, &fields)?;
            return Ok(body);
        }
        let mut is_whole = body.byte_length().is_some();
        let mut blocks = body.into_iter();
        if length.is_none() && blocks.size_hint() == (1, Some(1)) {
            // All of the body, such as bytes with a function that is called at their end.
            let block = blocks.next().transpose()?.unwrap_or_default();
            (length, is_whole) = (Some(block.len()), true);
            blocks = Box::new(std::iter::once(Ok(block)).chain(blocks));
            if !may_compress(length) {
                send(inner, &status, &fields)?;
                return Ok(Body::try_iter(blocks));
            }
        }
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        fields.push(("Content-Encoding".into(), b"gzip".to_vec()));
        weaken_etag(&mut fields);
        send(inner, &status, &fields)?;
        if is_left_out {
            // Blocks, since the length of the compressed body is not known.
            return Ok(Body::iter([]));
        }
        let encoder = GzEncoder::new(Vec::new(), Compression::new(self.level));
        let blocks = Blocks { blocks, encoder: Some(encoder), flushes: !is_whole };
        if is_whole {
            let compressed = blocks.collect::<Result<Vec<_>, _>>()?.concat();
            return Ok(Body::from(compressed));
        }
        Ok(Body::try_iter(blocks))
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        self.app.is_immediate(head, before_blocking)
    }
}

type Fields = Vec<(String, Vec<u8>)>;

fn field<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    let (_, value) = fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}

/// Whether a response may be compressed and gains from it.
fn is_compressible(status: &str, fields: &Fields) -> bool {
    let code = status.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0);
    let has = |name| fields.iter().any(|(known, _): &(String, _)| known.eq_ignore_ascii_case(name));
    if !allows_body(code) || code == 206 || has("content-encoding") || has("content-range") {
        return false;
    }
    if field(fields, "cache-control").is_some_and(|value| value.to_ascii_lowercase().contains("no-transform")) {
        return false;
    }
    let media_type = field(fields, "content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.split_once('/') {
        Some(("text", kind)) => kind != "event-stream",
        Some(("application", kind)) => {
            matches!(kind, "json" | "javascript" | "xml" | "wasm" | "manifest+json")
                || kind.ends_with("+json")
                || kind.ends_with("+xml")
        }
        Some(("image", kind)) => kind == "svg+xml",
        _ => false,
    }
}

/// Tells caches that the response depends on the codings that the client accepts (RFC 9110 §12.5.5).
fn add_vary(fields: &mut Fields) {
    let name = "accept-encoding";
    let mut vary = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case("vary"));
    let lists_it = vary.any(|(_, value)| {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        value.split(',').map(str::trim).any(|part| part == name || part == "*")
    });
    if !lists_it {
        fields.push(("Vary".into(), b"Accept-Encoding".to_vec()));
    }
}

/// Gives a response 304 the fields of the response that the client has (RFC 9110 §15.4.5): the tag that was sent with the
/// compressed body, if the client names that one.
fn as_of_compressed(fields: &mut Fields, known: Option<&ETags>) {
    add_vary(fields);
    let tag = field(fields, "etag").and_then(|tag| ETag::parse(tag.as_bytes()));
    let Some(tag) = tag.filter(|tag| !tag.is_weak()) else { return };
    if known.is_some_and(|known| known.iter().any(|known| known.is_weak() && known.weak_eq(&tag))) {
        weaken_etag(fields);
    }
}

/// The compressed bytes differ from those that a strong tag stands for (RFC 9110 §8.8.3).
fn weaken_etag(fields: &mut Fields) {
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("etag") && !value.starts_with(b"W/") {
            value.splice(..0, *b"W/");
        }
    }
}

fn send(start_response: &mut dyn StartResponse, status: &str, fields: &Fields) -> Result<(), StartError> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    start_response.begin(status, &fields, None)
}

/// A `start_response` that keeps the head until the body is known.
struct Deferred<'s> {
    inner: &'s mut dyn StartResponse,
    head: Option<(String, Fields)>,
    /// Whether the head has been passed on, because of `write`.
    is_sent: bool,
}

impl StartResponse for Deferred<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        if self.is_sent {
            return self.inner.begin(status, fields, error);
        }
        if self.head.is_some() && error.is_none() {
            return Err(StartErrorKind::Twice.into());
        }
        let owned = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        self.head = Some((status.to_owned(), owned.collect()));
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        if let Some((status, fields)) = self.head.as_ref().filter(|_| !self.is_sent) {
            send(self.inner, status, fields)?;
            self.is_sent = true;
        }
        self.inner.write(data)
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        self.inner.early_hints(fields)
    }

    fn flush(&mut self) -> Result<(), StartError> {
        self.inner.flush()
    }
}

/// The compressed blocks of a body.
struct Blocks<I> {
    blocks: I,
    /// `None` after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Whether each block is sent at once, as the contract asks for.
    flushes: bool,
}

impl<I: Iterator<Item = Result<Vec<u8>, AppError>>> Iterator for Blocks<I> {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        let encoder = self.encoder.as_mut()?;
        match self.blocks.next() {
            Some(Ok(block)) => {
                let written = encoder.write_all(&block).and_then(|()| match self.flushes && !block.is_empty() {
                    true => encoder.flush(),
                    false => Ok(()),
                });
                Some(written.map(|()| std::mem::take(encoder.get_mut())).map_err(Into::into))
            }
            Some(Err(error)) => Some(Err(error)),
            None => self.encoder.take().map(|encoder| encoder.finish().map_err(Into::into)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, Response};
    use amboss_core::{run_wsgi_app, AppResponse, EnvironBuilder};
    use std::io::Read;

    fn get(
        response: impl Fn() -> Response + Send + Sync,
        accept: &str,
        change: fn(EnvironBuilder) -> EnvironBuilder,
    ) -> AppResponse {
        let app = Gzip::new(request_app(move |_| Ok(response())));
        let mut owned = change(EnvironBuilder::new("/").field("Accept-Encoding", accept)).build().unwrap();
        run_wsgi_app(&app, &mut owned.environ()).unwrap()
    }

    fn unzip(bytes: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn text_is_compressed_for_clients_that_accept_it() {
        let page = || Response::html("hello ".repeat(1000)).with_header("ETag", "\"a\"").with_header("Vary", "Cookie");
        let response = get(page, "br, gzip;q=0.5", |builder| builder);
        assert_eq!(response.header("Content-Encoding"), Some(&b"gzip"[..]));
        assert_eq!(response.header("ETag"), Some(&b"W/\"a\""[..]), "the tag of other bytes is weak");
        assert!(response.fields.contains(&("Vary".into(), b"Accept-Encoding".to_vec())));
        assert!(response.body.len() < 200 && unzip(&response.body) == "hello ".repeat(1000));
        assert!(get(page, "x-gzip", |builder| builder).header("Content-Encoding").is_some());
        for accept in ["br", "gzip;q=0", "identity", "", "identity, gzip;q=0.5"] {
            let response = get(page, accept, |builder| builder);
            assert_eq!((response.body.len(), response.header("Content-Encoding")), (6000, None), "{accept}");
            assert!(response.fields.contains(&("Vary".into(), b"Accept-Encoding".to_vec())), "caches have to know");
        }
    }

    #[test]
    fn what_must_not_or_need_not_be_compressed_is_left() {
        let long = || Response::text("x".repeat(5000));
        for (name, response) in [
            ("short", (|| Response::text("short")) as fn() -> Response),
            ("image", || Response::text("x".repeat(5000)).with_header("Content-Type", "image/png")),
            ("encoded", || Response::text("x".repeat(5000)).with_header("Content-Encoding", "br")),
            ("partial", || {
                Response::text("x".repeat(5000)).with_status(206).with_header("Content-Range", "bytes 0-4999/9000")
            }),
            ("events", || Response::stream([vec![b'x'; 5000]], "text/event-stream")),
            ("secret", || Response::text("x".repeat(5000)).with_header("Cache-Control", "no-store, no-transform")),
        ] {
            let response = get(response, "gzip", |builder| builder);
            assert!(response.header("Content-Encoding") != Some(b"gzip"), "{name}");
            assert!(!response.body.starts_with(b"\x1f\x8b"), "{name}");
        }
        assert!(get(long, "gzip", |builder| builder.field("Range", "bytes=0-1")).header("Content-Encoding").is_none());
    }

    #[test]
    fn a_response_to_head_has_the_fields_of_the_response_to_get() {
        let whole = || Response::text("x".repeat(5000)).with_etag(&ETag::strong("a"));
        let declared = || Response::text("").with_header("Content-Length", "5000").with_etag(&ETag::strong("a"));
        for response in [whole as fn() -> Response, declared] {
            let [get, head] = ["GET", "HEAD"].map(|method| {
                let app = Gzip::new(request_app(move |_| Ok(if method == "GET" { whole() } else { response() })));
                let builder = EnvironBuilder::new("/").method(method).field("Accept-Encoding", "gzip");
                run_wsgi_app(&app, &mut builder.build().unwrap().environ()).unwrap()
            });
            assert_eq!(get.header("Content-Encoding"), Some(&b"gzip"[..]));
            assert_eq!(get.fields, head.fields);
        }
    }

    #[test]
    fn a_response_304_has_the_tag_that_the_client_has_and_vary() {
        for (known, tag) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"a\""), ("W/\"b\", \"a\"", "\"a\""), ("*", "\"a\"")] {
            let app = Gzip::new(request_app(|request| {
                Ok(Response::text("x".repeat(5000)).with_etag(&ETag::strong("a")).make_conditional(request))
            }));
            let builder = EnvironBuilder::new("/").field("Accept-Encoding", "gzip").field("If-None-Match", known);
            let response = run_wsgi_app(&app, &mut builder.build().unwrap().environ()).unwrap();
            assert_eq!((response.status, response.header("ETag")), (304, Some(tag.as_bytes())), "{known}");
            assert_eq!(response.header("Vary"), Some(&b"Accept-Encoding"[..]));
        }
    }

    #[test]
    fn the_minimum_holds_for_bytes_that_are_followed_by_a_function() {
        for (length, is_compressed) in [(4, false), (5000, true)] {
            let app = Gzip::new(move |_: &mut Environ<'_>, start: &mut dyn StartResponse| {
                start.start("200 OK", &[("Content-Type", "text/plain")])?;
                Ok::<_, AppError>(Body::from("x".repeat(length)).on_close(|| {}))
            });
            let builder = EnvironBuilder::new("/").field("Accept-Encoding", "gzip");
            let response = run_wsgi_app(&app, &mut builder.build().unwrap().environ()).unwrap();
            assert_eq!(response.header("Content-Encoding").is_some(), is_compressed, "{length}");
        }
    }

    #[test]
    fn each_block_of_a_stream_is_sent_at_once() {
        let app = Gzip::new(request_app(|_| Ok(Response::stream([b"one ".to_vec(), b"two".to_vec()], "text/plain"))));
        let mut owned = EnvironBuilder::new("/").field("Accept-Encoding", "gzip").build().unwrap();
        let body = app.call(&mut owned.environ(), &mut Ignore).unwrap();
        let (mut sent, mut texts) = (Vec::new(), Vec::new());
        for block in body {
            sent.extend_from_slice(&block.unwrap());
            let mut decoder = flate2::write::GzDecoder::new(Vec::new());
            decoder.write_all(&sent).unwrap();
            decoder.flush().unwrap();
            texts.push(String::from_utf8(decoder.get_ref().clone()).unwrap());
        }
        assert_eq!(texts, ["one ", "one two", "one two"]);
    }

    struct Ignore;

    impl StartResponse for Ignore {
        fn begin(&mut self, _: &str, _: &[(&str, &[u8])], _: Option<&AppError>) -> Result<(), StartError> {
            Ok(())
        }
        fn write(&mut self, _: &[u8]) -> Result<(), StartError> {
            Ok(())
        }
    }

    #[test]
    fn the_contract_of_start_response_holds() {
        let run = |app: fn(&mut dyn StartResponse) -> Result<Body, AppError>| {
            let app = Gzip::new(move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| app(start_response));
            let mut owned = EnvironBuilder::new("/").field("Accept-Encoding", "gzip").build().unwrap();
            run_wsgi_app(&app, &mut owned.environ())
        };
        let twice = run(|start| {
            start.start("200 OK", &[])?;
            start.start("200 OK", &[])?;
            Ok(Body::empty())
        });
        assert!(twice.unwrap_err().to_string().contains("twice"));
        let replaced = run(|start| {
            start.start("200 OK", &[])?;
            start.begin("500 Failed", &[("Content-Type", b"text/plain")], Some(&"why".into()))?;
            Ok(Body::from("x".repeat(2000)))
        });
        let replaced = replaced.unwrap();
        assert_eq!((replaced.status, unzip(&replaced.body).len()), (500, 2000));
        let written = run(|start| {
            start.start("200 OK", &[("Content-Type", "text/plain")])?;
            start.write(b"written ")?;
            Ok(Body::from("x".repeat(2000)))
        });
        assert_eq!((written.as_ref().unwrap().body.len(), written.unwrap().header("Content-Encoding")), (2008, None));
        assert!(run(|_| Ok(Body::empty())).unwrap_err().to_string().contains("without calling start_response"));
    }
}
