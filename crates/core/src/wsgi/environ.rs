//! `environ`: a request described by CGI names, answered lazily from the parsed head.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Weak;

use super::client::{Client, Presence};
use super::input::{Input, Source};
use crate::http::head::Known;
use crate::http::{percent_decode, Head, Target, TargetForm};

/// What the environ says about the server; the same for every request.
pub(crate) struct ServerInfo {
    pub software: String,
    /// `werkzeug.server.shutdown`
    pub shutdown: Box<dyn Fn() + Send + Sync>,
    pub multithread: bool,
    pub multiprocess: bool,
    pub run_once: bool,
}

/// What the environ says about the connection; the same for every request on it.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionInfo<'a> {
    pub server_name: &'a str,
    pub server_port: &'a str,
    pub peer: Peer,
    pub scheme: &'static str,
    pub presence: &'a Weak<dyn Presence>,
    /// No transport layer stands between HTTP and the socket.
    pub plain: bool,
    /// What the transport has to say.
    pub variables: &'a [(&'static str, Vec<u8>)],
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process on this machine, over a Unix domain socket.
    Local,
}

impl fmt::Display for Peer {
    /// `REMOTE_ADDR`: the address without the port, or `<local>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical().fmt(f),
            Peer::Local => f.write_str("<local>"),
        }
    }
}

impl Peer {
    /// `REMOTE_PORT`; 0 over a Unix domain socket.
    pub fn port(&self) -> u16 {
        match self {
            Peer::Tcp(address) => address.port(),
            Peer::Local => 0,
        }
    }
}

/// The request as an application sees it.
///
/// [`get`](Environ::get) answers to the names of PEP 3333 and CGI, from the request that lies in the connection's
/// buffer; nothing is copied before it is asked for. Middleware may [`set`](Environ::set) and
/// [`remove`](Environ::remove) keys. Values are bytes (PEP 3333's latin-1 strings).
///
/// | key | value |
/// |---|---|
/// | `REQUEST_METHOD` | the method |
/// | `SCRIPT_NAME` | empty |
/// | `PATH_INFO` | the path, percent-decoded; empty for `OPTIONS *` |
/// | `QUERY_STRING` | what follows `?`, as sent |
/// | `REQUEST_URI`, `RAW_URI` | the request-target as sent |
/// | `SERVER_PROTOCOL` | `HTTP/1.0` or `HTTP/1.1` |
/// | `SERVER_NAME`, `SERVER_PORT` | the address that was bound |
/// | `REMOTE_ADDR`, `REMOTE_PORT` | the client's; `<local>` and `0` on a Unix socket |
/// | `SERVER_SOFTWARE` | name and version of the server |
/// | `CONTENT_TYPE`, `CONTENT_LENGTH` | the fields, only when they were sent; of a collected body that was chunked, its length, and then there is no `HTTP_TRANSFER_ENCODING`; none beside a Transfer-Encoding otherwise, which overrides it |
/// | `HTTP_*` | the other fields: repeated ones joined with `,`, cookies with `; `; names with `_` are dropped, since they could pass for names with `-` |
/// | `SSL_PROTOCOL`, `SSL_CIPHER`, `SSL_CLIENT_CERT` | over TLS, as its transport tells ([`Session`](crate::Session)) |
/// | `wsgi.version` | `1.0` |
/// | `wsgi.url_scheme` | `http` or `https` |
/// | `wsgi.input_terminated` | `true`, always |
/// | `wsgi.multithread`, `wsgi.multiprocess`, `wsgi.run_once` | `true` or `false` |
///
/// The body is [`input`](Environ::input). What is no string (a shutdown handle, routing arguments) travels in
/// [`extensions`](Environ::extensions).
pub struct Environ<'a> {
    head: Head<'a>,
    target: Target<'a>,
    server: &'a ServerInfo,
    connection: ConnectionInfo<'a>,
    input: Input<'a>,
    changes: Vec<(String, Option<Vec<u8>>)>,
    extensions: Extensions,
    kept: &'a mut Extensions,
}

/// Answered from the request, without HTTP_*.
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
        input: &'a mut dyn Source,
        kept: &'a mut Extensions,
    ) -> Environ<'a> {
        let (changes, extensions) = (Vec::new(), Extensions::default());
        Environ { head, target, server, connection, input: Input::new(input), changes, extensions, kept }
    }

    /// The value of a key, or `None` when there is no such key.
    pub fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        if let Some((_, value)) = self.changes.iter().rev().find(|(changed, _)| changed == key) {
            return value.as_deref().map(Cow::Borrowed);
        }
        let truth = |value: bool| if value { &b"true"[..] } else { b"false" };
        let value: &[u8] = match key {
            "REQUEST_METHOD" => self.head.method(),
            "SCRIPT_NAME" => b"",
            // `OPTIONS *` asks about the server, and names no path.
            "PATH_INFO" if self.target.form == TargetForm::Asterisk => b"",
            "PATH_INFO" => return Some(percent_decode(self.target.path)),
            "QUERY_STRING" => self.target.query,
            "REQUEST_URI" | "RAW_URI" => self.head.target(),
            "SERVER_PROTOCOL" => self.head.version().as_str().as_bytes(),
            "SERVER_NAME" => self.connection.server_name.as_bytes(),
            "SERVER_PORT" => self.connection.server_port.as_bytes(),
            "REMOTE_ADDR" => return Some(Cow::Owned(self.connection.peer.to_string().into_bytes())),
            "REMOTE_PORT" => return Some(Cow::Owned(self.connection.peer.port().to_string().into_bytes())),
            "SERVER_SOFTWARE" => self.server.software.as_bytes(),
            "CONTENT_TYPE" => return self.field("content-type"),
            // RFC 9112 §6.3: where leniency lets both fields pass, the length that was sent is not that of the body.
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
            // PEP 3333 and RFC 3875: these two have names of their own.
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

    /// The value of a key as text, bytes that are no UTF-8 replaced; empty when there is no such key.
    pub fn text(&self, key: &str) -> Cow<'_, str> {
        match self.get(key) {
            Some(Cow::Borrowed(bytes)) => String::from_utf8_lossy(bytes),
            Some(Cow::Owned(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Cow::Owned(text),
                Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            },
            None => Cow::Borrowed(""),
        }
    }

    /// Sets a key, as middleware does.
    pub fn set(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.change(key, Some(value.into()));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        self.change(key, None);
    }

    fn change(&mut self, key: &str, value: Option<Vec<u8>>) {
        match self.changes.iter_mut().find(|(changed, _)| changed == key) {
            Some((_, slot)) => *slot = value,
            None => self.changes.push((key.to_owned(), value)),
        }
    }

    /// Every key with its value, each once.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, [u8]>)> + use<'_, 'a> {
        let mut keys: Vec<Cow<'_, str>> = KEYS.iter().map(|&key| Cow::Borrowed(key)).collect();
        for field in self.head.fields() {
            // Names with `_` are not asked for, so they drop out here.
            if let Some(key) = cgi_name(field.name) {
                keys.push(Cow::Owned(key));
            }
        }
        keys.extend(self.connection.variables.iter().map(|(name, _)| Cow::Borrowed(*name)));
        keys.extend(self.changes.iter().map(|(key, _)| Cow::Borrowed(key.as_str())));
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys.into_iter().filter_map(|key| {
            let value = self.get(&key)?;
            Some((key, value))
        })
    }

    /// The method.
    pub fn method(&self) -> Cow<'_, [u8]> {
        self.get("REQUEST_METHOD").unwrap_or_default()
    }

    /// `PATH_INFO`: the path, percent-decoded.
    pub fn path(&self) -> Cow<'_, [u8]> {
        self.get("PATH_INFO").unwrap_or_default()
    }

    /// The body of the request.
    pub fn input(&mut self) -> &mut Input<'a> {
        &mut self.input
    }

    /// Stops the server once this request is answered (Werkzeug's `werkzeug.server.shutdown`).
    pub fn shutdown_server(&self) {
        (self.server.shutdown)();
    }

    /// The parsed head, as it was sent.
    pub fn head(&self) -> Head<'a> {
        self.head
    }

    /// What is no string.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What is no string, to add to.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// What stays with the connection from one request to the next, and is dropped when it closes: whatever is costly to
    /// make and the same for all of them.
    pub fn connection_extensions(&mut self) -> &mut Extensions {
        self.kept
    }

    /// What the connection's transport told: names and values of the environ, the same for all of its requests.
    pub fn connection_variables(&self) -> &'a [(&'static str, Vec<u8>)] {
        self.connection.variables
    }

    /// The connection that the request came over.
    pub fn client(&self) -> Client {
        Client::new(self.connection.presence.clone(), self.connection.plain)
    }

    /// The length of a body that came in chunks and was collected: the chunked coding has been removed, so the
    /// application sees a body with a length (RFC 9112 §7.1.3).
    pub fn collected_length(&self) -> Option<u64> {
        self.head.known(Known::TransferEncoding)?;
        self.input.collected()?;
        self.input.length()
    }

    /// The authority of an absolute-form target stands for Host (RFC 9112 §3.2.2).
    fn host(&self) -> Option<Cow<'_, [u8]>> {
        match self.target.authority {
            Some(authority) => Some(Cow::Borrowed(authority)),
            None => self.head.known(Known::Host).map(Cow::Borrowed),
        }
    }

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

/// `HTTP_…` for a field name; `None` when the environ has no place for it.
fn cgi_name(name: &[u8]) -> Option<String> {
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
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value.escape_ascii().to_string()))).finish()
    }
}

/// Values by type, for what is no string.
///
/// ```
/// # use amboss_core::Extensions;
/// struct User(&'static str);
/// let mut extensions = Extensions::default();
/// extensions.insert(User("ada"));
/// assert_eq!(extensions.get::<User>().unwrap().0, "ada");
/// ```
#[derive(Default)]
pub struct Extensions(Vec<(TypeId, Box<dyn Any + Send>)>);

impl Extensions {
    /// Puts a value in, in place of one of the same type.
    pub fn insert<T: Any + Send>(&mut self, value: T) {
        self.0.retain(|(id, _)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), Box::new(value)));
    }

    /// The value of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// The value of this type, to change.
    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        let (_, value) = self.0.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_mut()
    }

    /// Takes the value of this type out.
    pub fn remove<T: Any>(&mut self) -> Option<T> {
        let index = self.0.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        self.0.swap_remove(index).1.downcast().ok().map(|value| *value)
    }
}

impl Extensions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all of them out, for whoever drops them one by one.
    #[inline]
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Box<dyn Any + Send>> {
        std::mem::take(&mut self.0).into_iter().map(|(_, value)| value)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.0.len())
    }
}
