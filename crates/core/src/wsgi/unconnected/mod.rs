//! An environ that no connection stands behind: for tests of applications, for CGI, and for requests that an application
//! makes to another one.

mod base_url;
mod error;
mod input;
mod owned;

use std::any::Any;
use std::fmt;
use std::io::{BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::extensions::Extensions;
use super::peer::Peer;
use crate::http::{percent_decode, HeadOptions, HeadParser, Leniency, Target};
use base_url::BaseUrl;
use input::UnconnectedInput;

pub use error::{EnvironError, EnvironErrorKind};
pub use owned::OwnedEnviron;

/// Makes an environ for `GET path`, as Werkzeug's `create_environ`. `base_url` is the URL of the application:
/// `http://localhost:8080`, or with a path, which becomes `SCRIPT_NAME`.
///
/// ```
/// use amboss_core::create_environ;
/// let mut owned = create_environ("/test?q=1", "http://localhost:8080")?;
/// let environ = owned.environ();
/// assert_eq!(environ.path(), "/test");
/// assert_eq!(environ.query(), "q=1");
/// assert_eq!(environ.header("Host").unwrap(), "localhost:8080");
/// # Ok::<(), amboss_core::EnvironError>(())
/// ```
///
/// # Errors
/// As [`EnvironBuilder::build`].
pub fn create_environ(path: &str, base_url: &str) -> Result<OwnedEnviron, EnvironError> {
    EnvironBuilder::new(path).base_url(base_url).build()
}

/// A builder of an [`OwnedEnviron`], the request of an application without a socket.
///
/// ```
/// use amboss_core::EnvironBuilder;
/// use std::io::Read;
///
/// let mut owned = EnvironBuilder::new("/upload")
///     .method("POST")
///     .field("Content-Type", "text/plain")
///     .body("hello")
///     .build()?;
/// let mut environ = owned.environ();
/// let mut text = String::new();
/// environ.input().read_to_string(&mut text).unwrap();
/// assert_eq!((text.as_str(), environ.text("CONTENT_LENGTH").as_ref()), ("hello", "5"));
/// # Ok::<(), amboss_core::EnvironError>(())
/// ```
pub struct EnvironBuilder {
    method: String,
    path: String,
    query: Option<String>,
    base_url: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<UnconnectedInput>,
    peer: Peer,
    variables: Vec<(String, Option<Vec<u8>>)>,
    extensions: Extensions,
}

impl EnvironBuilder {
    /// Makes a builder for `GET path` at `http://localhost`, from 127.0.0.1. The path may have a query. Bytes that a
    /// request-target can't contain, such as spaces and letters beyond ASCII, are percent-encoded; `%` is left as it
    /// is.
    pub fn new(path: impl Into<String>) -> EnvironBuilder {
        EnvironBuilder {
            method: "GET".into(),
            path: path.into(),
            query: None,
            base_url: "http://localhost".into(),
            fields: Vec::new(),
            body: None,
            peer: Peer::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            variables: Vec::new(),
            extensions: Extensions::default(),
        }
    }

    /// Sets the method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> EnvironBuilder {
        self.method = method.into();
        self
    }

    /// Sets the query, without the `?`. It replaces a query of the path.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> EnvironBuilder {
        self.query = Some(query.into());
        self
    }

    /// Sets the URL of the application: scheme, host, port, and a path that becomes `SCRIPT_NAME`,
    /// percent-decoded.
    #[must_use]
    pub fn base_url(mut self, base_url: impl Into<String>) -> EnvironBuilder {
        self.base_url = base_url.into();
        self
    }

    /// Adds a header field. A field `Host` replaces the host of the base URL, and a field `Content-Length` or
    /// `Transfer-Encoding` replaces the one that describes the body.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> EnvironBuilder {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Sets the body, complete in memory as after [`BodyMode::Collect`](crate::BodyMode::Collect).
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> EnvironBuilder {
        self.body = Some(UnconnectedInput::Bytes { bytes: body.into(), position: 0 });
        self
    }

    /// Sets a body that is read while the application runs, as with [`BodyMode::Stream`](crate::BodyMode::Stream), with
    /// its length in bytes if it is known. The input fails if the reader ends before that length.
    #[must_use]
    pub fn streamed_body(mut self, reader: impl Read + Send + 'static, length: Option<u64>) -> EnvironBuilder {
        let reader = BufReader::new(Box::new(reader) as Box<dyn Read + Send>);
        self.body = Some(UnconnectedInput::Reader { reader, length, position: 0 });
        self
    }

    /// Sets the address of the client.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> EnvironBuilder {
        self.peer = peer;
        self
    }

    /// Sets a key, as [`Environ::set`](crate::Environ::set) does.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> EnvironBuilder {
        self.variables.push((key.into(), Some(value.into())));
        self
    }

    /// Removes a key, as [`Environ::remove`](crate::Environ::remove) does.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> EnvironBuilder {
        self.variables.push((key.into(), None));
        self
    }

    /// Adds a value that is not a string, for the first environ that [`OwnedEnviron::environ`] makes.
    #[must_use]
    pub fn extension<T: Any + Send>(mut self, value: T) -> EnvironBuilder {
        self.extensions.insert(value);
        self
    }

    /// Makes the request: writes its head and parses it as the server does.
    ///
    /// # Errors
    /// A base URL, a path, a field or a method that no HTTP/1.1 request can have.
    pub fn build(self) -> Result<OwnedEnviron, EnvironError> {
        let base = BaseUrl::parse(&self.base_url)?;
        let (path, query) = match (&self.query, self.path.split_once('?')) {
            (Some(query), Some((path, _))) => (path, Some(query.as_str())),
            (Some(query), None) => (self.path.as_str(), Some(query.as_str())),
            (None, Some((path, query))) => (path, Some(query)),
            (None, None) => (self.path.as_str(), None),
        };
        if !path.starts_with('/') && path != "*" {
            return Err(EnvironErrorKind::Path(path.to_owned()).into());
        }
        let prefix = if path == "*" { "" } else { base.script_name };
        let mut target = encode(prefix) + &encode(path);
        if let Some(query) = query {
            target = target + "?" + &encode(query);
        }
        let head = self.head(&target, base.authority)?;
        let mut parser = HeadParser::new(HeadOptions::default());
        match parser.parse(&head, head.len()).map_err(EnvironErrorKind::Head)? {
            Some(length) if length == head.len() => {}
            _ => return Err(EnvironErrorKind::Method(self.method).into()),
        }
        Target::of(&parser.head(&head), Leniency::default()).map_err(EnvironErrorKind::Head)?;
        let mut variables = self.variables;
        if !base.script_name.is_empty() {
            let path = percent_decode(encode(path).as_bytes()).into_owned();
            variables.insert(0, ("SCRIPT_NAME".into(), Some(percent_decode(base.script_name.as_bytes()).into_owned())));
            variables.insert(1, ("PATH_INFO".into(), Some(path)));
        }
        let body = self.body.unwrap_or_else(|| UnconnectedInput::Bytes { bytes: Vec::new(), position: 0 });
        Ok(OwnedEnviron::new(head, parser, &base, self.peer, body, variables, self.extensions))
    }

    /// Writes the head of the request.
    fn head(&self, target: &str, authority: &str) -> Result<Vec<u8>, EnvironError> {
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method).into_bytes();
        let has = |name: &str| self.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("Host") {
            append_field(&mut head, "Host", authority.as_bytes())?;
        }
        for (name, value) in &self.fields {
            append_field(&mut head, name, value)?;
        }
        if !has("Content-Length") && !has("Transfer-Encoding") {
            match &self.body {
                Some(UnconnectedInput::Bytes { bytes, .. }) => {
                    append_field(&mut head, "Content-Length", bytes.len().to_string().as_bytes())?;
                }
                Some(UnconnectedInput::Reader { length: Some(length), .. }) => {
                    append_field(&mut head, "Content-Length", length.to_string().as_bytes())?;
                }
                Some(UnconnectedInput::Reader { length: None, .. }) => {
                    append_field(&mut head, "Transfer-Encoding", b"chunked")?;
                }
                None => {}
            }
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }
}

impl fmt::Debug for EnvironBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironBuilder")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// Appends a field line. A line end in a field would begin another field, so it is refused here; the parser refuses
/// everything else.
fn append_field(head: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), EnvironError> {
    if name.bytes().chain(value.iter().copied()).any(|byte| matches!(byte, b'\r' | b'\n')) || name.is_empty() {
        return Err(EnvironErrorKind::Field(name.to_owned()).into());
    }
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
    Ok(())
}

/// Percent-encodes the bytes that a request-target can't contain (RFC 3986 §3.3 and §3.4).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%[]".contains(&byte) {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
