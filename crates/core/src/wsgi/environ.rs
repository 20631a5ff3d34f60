//! `environ`: the request as variables with CGI names, read from the parsed head on demand.

use std::borrow::Cow;
use std::fmt;

use super::byte_str::ByteStr;
use super::client::Client;
use super::extensions::Extensions;
use super::forwarded::Forwarded;
use super::input::{Input, Source};
use super::peer::Peer;
use super::server_info::{ConnectionInfo, ServerInfo};
use crate::http::head::Known;
use crate::http::{percent_decode, Head, Target, TargetForm};

/// The request as an application sees it.
///
/// [`method`](Environ::method), [`path`](Environ::path), [`query`](Environ::query) and [`header`](Environ::header)
/// return the usual parts of a request. [`get`](Environ::get) knows the keys of PEP 3333 and CGI in the table below.
/// Values are byte strings ([`ByteStr`]; PEP 3333's latin-1 strings), read from the buffer of the connection; nothing
/// is copied in advance. Middleware may [`set`](Environ::set) and [`remove`](Environ::remove) keys.
///
/// ```
/// use amboss_core::{AppError, Body, Environ, StartResponse};
///
/// fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     if environ.method() != "GET" || environ.path() != "/search" {
///         start_response.start("404 Not Found", &[])?;
///         return Ok(Body::empty());
///     }
///     let agent = environ.header("User-Agent").unwrap_or_default();
///     let text = format!("{agent} searches for {}\n", environ.query());
///     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
///     Ok(Body::from(text))
/// }
/// # fn is_application(_: impl amboss_core::Application) {}
/// # is_application(app);
/// ```
///
/// | key | value |
/// |---|---|
/// | `REQUEST_METHOD` | the method |
/// | `SCRIPT_NAME` | empty, or what a trusted proxy says |
/// | `PATH_INFO` | the path, percent-decoded; empty for `OPTIONS *` |
/// | `QUERY_STRING` | the text after `?`, as sent |
/// | `REQUEST_URI`, `RAW_URI` | the request-target as sent |
/// | `SERVER_PROTOCOL` | `HTTP/1.0` or `HTTP/1.1` |
/// | `SERVER_NAME`, `SERVER_PORT` | the bound address, or what a trusted proxy says |
/// | `REMOTE_ADDR`, `REMOTE_PORT` | the client's address; `<local>` and `0` on a Unix socket; behind a trusted proxy the address that it names, and port `0` if it names none |
/// | `SERVER_SOFTWARE` | name and version of the server |
/// | `CONTENT_TYPE` | the field, if it was sent |
/// | `CONTENT_LENGTH` | the field, if it was sent without a Transfer-Encoding, which overrides it; the length of a collected body that was chunked, and then there is no `HTTP_TRANSFER_ENCODING` |
/// | `HTTP_*` | the other fields; repeated ones are joined with `,`, cookies with `; `; names with `_` are dropped, since they have the same key as names with `-` |
/// | `SSL_PROTOCOL`, `SSL_CIPHER`, `SSL_CLIENT_CERT` | over TLS: the variables of the transport ([`HandshakeInfo`](crate::HandshakeInfo)) |
/// | `wsgi.version` | `1.0` |
/// | `wsgi.url_scheme` | `http` or `https`, of the connection or as a trusted proxy says |
/// | `wsgi.input_terminated` | `true`, always |
/// | `wsgi.multithread`, `wsgi.multiprocess`, `wsgi.run_once` | `true` or `false` |
///
/// The body is [`input`](Environ::input). Values that are not strings (routing arguments, for example) are in
/// [`extensions`](Environ::extensions).
pub struct Environ<'a> {
    head: Head<'a>,
    target: Target<'a>,
    server: &'a ServerInfo,
    connection: ConnectionInfo<'a>,
    /// What a trusted proxy says about the request.
    forwarded: Option<Box<Forwarded<'a>>>,
    input: Input<'a>,
    /// Keys that were set or removed.
    overrides: Vec<(String, Option<Vec<u8>>)>,
    extensions: Extensions,
    connection_extensions: &'a mut Extensions,
}

/// The keys that every request may have, besides `HTTP_*`.
const KEYS: [&str; 21] = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "RAW_URI",
    "SERVER_PROTOCOL",
    "SERVER_NAME",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "SERVER_SOFTWARE",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.input_terminated",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
    "HTTP_HOST",
];

impl<'a> Environ<'a> {
    #[inline]
    pub(crate) fn new(
        head: Head<'a>,
        target: Target<'a>,
        server: &'a ServerInfo,
        connection: ConnectionInfo<'a>,
        forwarded: Option<Box<Forwarded<'a>>>,
        input: &'a mut dyn Source,
        connection_extensions: &'a mut Extensions,
    ) -> Environ<'a> {
        let (overrides, extensions) = (Vec::new(), Extensions::default());
        let input = Input::new(input);
        Environ { head, target, server, connection, forwarded, input, overrides, extensions, connection_extensions }
    }

    /// The value of a key, or `None` if there is no such key.
    pub fn get(&self, key: &str) -> Option<ByteStr<'_>> {
        self.value(key).map(ByteStr::new)
    }

    /// Whether neither middleware nor a proxy has changed anything, so that the head has the values of all keys.
    #[inline]
    fn is_unchanged(&self) -> bool {
        self.overrides.is_empty() && self.forwarded.is_none()
    }

    fn value(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        if let Some((_, value)) = self.overrides.iter().rev().find(|(changed, _)| changed == key) {
            return value.as_deref().map(Cow::Borrowed);
        }
        if let Some(value) = self.forwarded.as_deref().and_then(|forwarded| forwarded.get(key)) {
            return Some(value);
        }
        self.own_value(key)
    }

    /// The value of a key without the changes of middleware and of proxies.
    fn own_value(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        let truth = |value: bool| if value { &b"true"[..] } else { b"false" };
        let value: &[u8] = match key {
            "REQUEST_METHOD" => self.head.method(),
            "SCRIPT_NAME" => b"",
            "PATH_INFO" => return Some(self.decoded_path()),
            "QUERY_STRING" => self.target.query,
            "REQUEST_URI" | "RAW_URI" => self.head.target(),
            "SERVER_PROTOCOL" => self.head.version().as_str().as_bytes(),
            "SERVER_NAME" => self.connection.server_name.as_bytes(),
            "SERVER_PORT" => self.connection.server_port.as_bytes(),
            "REMOTE_ADDR" => return Some(Cow::Owned(self.connection.peers.client.to_string().into_bytes())),
            "REMOTE_PORT" => return Some(Cow::Owned(self.connection.peers.client.port().to_string().into_bytes())),
            "SERVER_SOFTWARE" => self.server.software.as_bytes(),
            "CONTENT_TYPE" => return self.field("content-type"),
            // RFC 9112 §6.3: if leniency allows both fields, the length that was sent is not the length of the body.
            "CONTENT_LENGTH" if self.head.known(Known::TransferEncoding).is_some() => {
                return self.collected_length().map(|length| Cow::Owned(length.to_string().into_bytes()));
            }
            "CONTENT_LENGTH" => return self.field("content-length"),
            "HTTP_TRANSFER_ENCODING" if self.collected_length().is_some() => return None,
            "wsgi.version" => b"1.0",
            "wsgi.url_scheme" => self.connection.scheme.as_bytes(),
            "wsgi.input_terminated" => b"true",
            "wsgi.multithread" => truth(self.server.multithread),
            "wsgi.multiprocess" => truth(self.server.multiprocess),
            "wsgi.run_once" => truth(self.server.run_once),
            "HTTP_HOST" => return self.host(),
            // PEP 3333 and RFC 3875: these two fields have keys without HTTP_.
            "HTTP_CONTENT_TYPE" | "HTTP_CONTENT_LENGTH" => return None,
            _ => {
                let Some(name) = key.strip_prefix("HTTP_") else {
                    let (_, value) = self.connection.variables.iter().find(|(name, _)| *name == key)?;
                    return Some(Cow::Borrowed(value));
                };
                if name.bytes().any(|byte| byte.is_ascii_lowercase() || byte == b'-') {
                    return None;
                }
                return self.field(&name.replace('_', "-"));
            }
        };
        Some(Cow::Borrowed(value))
    }

    /// The value of a key as text; empty if there is no such key. Bytes that are not UTF-8 are replaced with U+FFFD.
    pub fn text(&self, key: &str) -> Cow<'_, str> {
        self.get(key).unwrap_or_default().into_string_lossy()
    }

    /// The client, without regard to the changes of middleware: the one that a trusted proxy names, else the other end of
    /// the connection. `REMOTE_ADDR` and `REMOTE_PORT` are its text.
    pub fn peer(&self) -> Peer {
        self.forwarded.as_ref().and_then(|forwarded| forwarded.client).unwrap_or(self.connection.peers.client)
    }

    /// The other end of the connection, which may be a proxy.
    pub fn connection_peer(&self) -> Peer {
        self.connection.peers.socket
    }

    /// Returns the keys that middleware has set or removed, with their values; `None` for a removed key. For bridges to
    /// other languages, whose environ is made from the head.
    pub fn changes(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.overrides.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// Whether a trusted proxy has changed keys, through fields or the PROXY protocol.
    pub fn is_forwarded(&self) -> bool {
        self.forwarded.is_some() || self.connection.peers.client != self.connection.peers.socket
    }

    /// The value that a key has on the connection itself, without what trusted proxies say and without the changes of
    /// middleware. For `REMOTE_ADDR`, `REMOTE_PORT`, `wsgi.url_scheme`, `HTTP_HOST`, `SERVER_NAME`, `SERVER_PORT` and
    /// `SCRIPT_NAME`, this is what Werkzeug keeps as `werkzeug.proxy_fix.orig`.
    ///
    /// ```
    /// # fn example(environ: &mut amboss_core::Environ<'_>) {
    /// if environ.is_forwarded() {
    ///     let proxy = environ.original("REMOTE_ADDR").unwrap_or_default();
    ///     println!("{} through {proxy}", environ.text("REMOTE_ADDR"));
    /// }
    /// # }
    /// ```
    pub fn original(&self, key: &str) -> Option<ByteStr<'_>> {
        let peer = self.connection.peers.socket;
        let value = match key {
            "REMOTE_ADDR" => Some(Cow::Owned(peer.to_string().into_bytes())),
            "REMOTE_PORT" => Some(Cow::Owned(peer.port().to_string().into_bytes())),
            key => self.own_value(key),
        };
        value.map(ByteStr::new)
    }

    /// Sets a key, as middleware does.
    pub fn set(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.override_key(key, Some(value.into()));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        self.override_key(key, None);
    }

    fn override_key(&mut self, key: &str, value: Option<Vec<u8>>) {
        match self.overrides.iter_mut().find(|(changed, _)| changed == key) {
            Some((_, slot)) => *slot = value,
            None => self.overrides.push((key.to_owned(), value)),
        }
    }

    /// All keys with their values; each key occurs once.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, ByteStr<'_>)> + use<'_, 'a> {
        let mut keys: Vec<Cow<'_, str>> = KEYS.iter().map(|&key| Cow::Borrowed(key)).collect();
        for field in self.head.fields() {
            // A name with `_` has no key.
            if let Some(key) = http_key(field.name) {
                keys.push(Cow::Owned(key));
            }
        }
        keys.extend(self.connection.variables.iter().map(|(name, _)| Cow::Borrowed(*name)));
        keys.extend(self.overrides.iter().map(|(key, _)| Cow::Borrowed(key.as_str())));
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys.into_iter().filter_map(|key| {
            let value = self.get(&key)?;
            Some((key, value))
        })
    }

    /// The method (`REQUEST_METHOD`), which is case-sensitive.
    ///
    /// ```
    /// # fn example(environ: &mut amboss_core::Environ<'_>) -> bool {
    /// environ.method() == "GET" || environ.method() == b"HEAD"
    /// # }
    /// ```
    pub fn method(&self) -> ByteStr<'_> {
        if self.is_unchanged() {
            return ByteStr::new(Cow::Borrowed(self.head.method()));
        }
        self.get("REQUEST_METHOD").unwrap_or_default()
    }

    /// The percent-decoded path (`PATH_INFO`).
    ///
    /// ```
    /// # fn example(environ: &mut amboss_core::Environ<'_>) -> bool {
    /// environ.path() == "/about" || environ.path() == b"/index.html" || environ.path().starts_with("/static/")
    /// # }
    /// ```
    pub fn path(&self) -> ByteStr<'_> {
        if self.is_unchanged() {
            return ByteStr::new(self.decoded_path());
        }
        self.get("PATH_INFO").unwrap_or_default()
    }

    /// The query as it was sent, without the `?` (`QUERY_STRING`); empty if there is none.
    ///
    /// ```
    /// # fn example(environ: &mut amboss_core::Environ<'_>) -> bool {
    /// let query = environ.query();
    /// query.to_string_lossy().split('&').any(|pair| pair == "page=2")
    /// # }
    /// ```
    pub fn query(&self) -> ByteStr<'_> {
        if self.is_unchanged() {
            return ByteStr::new(Cow::Borrowed(self.target.query));
        }
        self.get("QUERY_STRING").unwrap_or_default()
    }

    /// The value of a header field, by its name as it is sent and without regard to case.
    ///
    /// ```
    /// # fn example(environ: &mut amboss_core::Environ<'_>) -> bool {
    /// environ.header("Content-Type").is_some_and(|media_type| media_type.starts_with("multipart/form-data"))
    /// # }
    /// ```
    ///
    /// Returns the value of the field's key (`HTTP_USER_AGENT`, `CONTENT_TYPE`), so repeated fields are joined, and
    /// the changes of middleware are included. Names with `_` have no key.
    pub fn header(&self, name: &str) -> Option<ByteStr<'_>> {
        let key = http_key(name.as_bytes())?;
        match key.as_str() {
            "HTTP_CONTENT_TYPE" => self.get("CONTENT_TYPE"),
            "HTTP_CONTENT_LENGTH" => self.get("CONTENT_LENGTH"),
            key => self.get(key),
        }
    }

    /// The body of the request.
    pub fn input(&mut self) -> &mut Input<'a> {
        &mut self.input
    }

    /// Stops the server after this request (Werkzeug's `werkzeug.server.shutdown`).
    pub fn shutdown_server(&self) {
        (self.server.shutdown)();
    }

    /// The parsed head, as it was sent.
    pub fn head(&self) -> Head<'a> {
        self.head
    }

    /// The values of this request that are not strings.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The values of this request that are not strings, for changing them.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Values that are kept from one request of the connection to the next, and dropped when it closes: for values that
    /// are costly to create and the same for every request.
    pub fn connection_extensions(&mut self) -> &mut Extensions {
        self.connection_extensions
    }

    /// The keys and values that the transport of the connection adds to the environ, the same for all of its requests.
    pub fn connection_variables(&self) -> &'a [(&'static str, Vec<u8>)] {
        self.connection.variables
    }

    /// A handle to the connection of the request.
    pub fn client(&self) -> Client {
        Client::new(self.connection.presence.clone(), self.connection.plain)
    }

    /// The length of a body that was sent in chunks and collected; `None` for every other body. The chunked coding has
    /// been removed, so the application sees a body with a length (RFC 9112 §7.1.3).
    pub fn collected_length(&self) -> Option<u64> {
        self.head.known(Known::TransferEncoding)?;
        self.input.collected()?;
        self.input.length()
    }

    /// The percent-decoded path of the target.
    #[inline]
    fn decoded_path(&self) -> Cow<'a, [u8]> {
        match self.target.form {
            // `OPTIONS *` concerns the server as a whole and has no path.
            TargetForm::Asterisk => Cow::Borrowed(b""),
            _ => percent_decode(self.target.path),
        }
    }

    /// The host: the authority of an absolute-form target replaces Host (RFC 9112 §3.2.2).
    fn host(&self) -> Option<Cow<'_, [u8]>> {
        match self.target.authority {
            Some(authority) => Some(Cow::Borrowed(authority)),
            None => self.head.known(Known::Host).map(Cow::Borrowed),
        }
    }

    /// The value of a field; repeated fields are joined.
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.head.get_all(name);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        // RFC 9110 §5.3; RFC 6265 §5.4 for cookies, which may hold commas.
        let separator: &[u8] = if name.eq_ignore_ascii_case("cookie") { b"; " } else { b"," };
        let mut joined = first.to_vec();
        for value in [second].into_iter().chain(values) {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }
}

/// The key `HTTP_…` of a field name; `None` for a name with `_`, which has the same key as the name with `-`.
fn http_key(name: &[u8]) -> Option<String> {
    if name.contains(&b'_') {
        return None;
    }
    let mut key = String::with_capacity(5 + name.len());
    key.push_str("HTTP_");
    key.extend(name.iter().map(|&byte| match byte {
        b'-' => '_',
        _ => byte.to_ascii_uppercase() as char,
    }));
    Some(key)
}

impl fmt::Debug for Environ<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
