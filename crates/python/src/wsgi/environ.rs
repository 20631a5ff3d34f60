//! Builds `environ` as a plain dict of native strings.
//!
//! The entries that all requests of a server share are built once, and those that all requests of a connection share
//! are built once per connection. A request copies that dict and adds its own entries.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use amboss::{Environ, Log, ShutdownHandle};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::runtime::ffi::latin1;
use crate::wsgi::connection_state::{ConnectionState, SOCKET};
use crate::wsgi::current_request::CurrentRequest;
use crate::wsgi::environ_objects::{ClientStatus, EarlyHints, Shutdown};
use crate::wsgi::error_stream::ErrorStream;
use crate::wsgi::file_wrapper::FileWrapper;
use crate::wsgi::input::{EmptyInput, Input};
use crate::wsgi::socket::ConnectionSocket;

/// The maximum number of header names whose keys a thread caches: more than clients use, and a bound against attackers who
/// invent names.
const MAX_CACHED_NAMES: usize = 512;

/// The method and the protocol of most requests.
const USUAL_METHOD: &str = "GET";
const USUAL_PROTOCOL: &str = "HTTP/1.1";

/// Other methods whose strings are shared by all requests.
const METHODS: [&str; 8] = ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"];

/// Keys by field names as clients send them; `None` for a field that is left out of the environ. The hash function is
/// seeded at random; for such short names a look-up takes half of the time that it takes with the standard library's.
type KeyCache = HashMap<Box<[u8]>, Option<Py<PyString>>, foldhash::fast::RandomState>;

thread_local! {
    /// The keys that this thread has used. A cache for all threads would need a lock, which serialises the event loops where
    /// the interpreter has none.
    static FIELD_KEYS: RefCell<KeyCache> = RefCell::default();
}

/// The parts of the server that the environ refers to.
pub(crate) struct ServerInfo {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) shutdown: Arc<OnceLock<ShutdownHandle>>,
}

/// `wsgi.input` of a request.
pub(crate) enum RequestInput {
    /// That of a request without a body.
    Empty,
    /// Set later, by the greenlet that answers the request.
    Later,
    Body(Py<Input>),
}

/// Builds the environ of each request.
pub(crate) struct EnvironBuilder {
    template: Py<PyDict>,
    methods: [(&'static str, Py<PyString>); METHODS.len()],
    keys: Keys,
}

macro_rules! keys {
    ($($field:ident = $name:literal,)*) => {
        /// Interned keys of the entries that requests set.
        struct Keys { $($field: Py<PyString>,)* }
        impl Keys {
            fn new(py: Python<'_>) -> Keys {
                Keys { $($field: PyString::intern(py, $name).unbind(),)* }
            }
        }
    };
}

keys! {
    method = "REQUEST_METHOD",
    path = "PATH_INFO",
    query = "QUERY_STRING",
    uri = "REQUEST_URI",
    raw_uri = "RAW_URI",
    protocol = "SERVER_PROTOCOL",
    input = "wsgi.input",
    host = "HTTP_HOST",
}

impl EnvironBuilder {
    pub(crate) fn new(py: Python<'_>, server: &ServerInfo) -> PyResult<EnvironBuilder> {
        let template = PyDict::new(py);
        let empty = PyString::intern(py, "");
        template.set_item("wsgi.version", (1, 0))?;
        template.set_item("wsgi.errors", Py::new(py, ErrorStream::new(server.log.clone()))?)?;
        template.set_item("wsgi.run_once", false)?;
        template.set_item("wsgi.input_terminated", true)?;
        template.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        template.set_item("werkzeug.server.shutdown", Py::new(py, Shutdown::new(server.shutdown.clone()))?)?;
        template.set_item("SCRIPT_NAME", &empty)?;
        let methods = METHODS.map(|name| (name, PyString::intern(py, name).unbind()));
        let keys = Keys::new(py);
        // The values of most requests; the others set theirs.
        template.set_item(&keys.method, PyString::intern(py, USUAL_METHOD))?;
        template.set_item(&keys.query, &empty)?;
        template.set_item(&keys.protocol, PyString::intern(py, USUAL_PROTOCOL))?;
        template.set_item(&keys.input, Py::new(py, EmptyInput)?)?;
        // Every request sets these. They are there already, so that a copy of the dict does not have to grow.
        for key in [&keys.path, &keys.uri, &keys.raw_uri, &keys.host] {
            template.set_item(key, &empty)?;
        }
        Ok(EnvironBuilder { template: template.unbind(), methods, keys })
    }

    /// Builds the environ of a request, and returns its `werkzeug.socket` as well.
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        environ: &mut Environ<'_>,
        request: &CurrentRequest,
        input: RequestInput,
    ) -> PyResult<(Bound<'py, PyDict>, Option<Bound<'py, ConnectionSocket>>)> {
        if environ.connection_extensions().get::<ConnectionState>().is_none() {
            let state = self.connection_state(py, environ)?;
            environ.connection_extensions().insert(state);
        }
        let Some(state) = environ.connection_extensions().get::<ConnectionState>() else {
            unreachable!("the state was inserted above")
        };
        state.early_hints.get().set_request(request.clone_ref(py));
        let socket = state.socket(py)?;
        if let Some(socket) = &socket {
            socket.get().begin(request.clone_ref(py));
        }
        let dict = state.template.bind(py).copy()?;
        self.set_request_line(py, environ, &dict)?;
        let keys = &self.keys;
        if let RequestInput::Body(input) = input {
            dict.set_item(keys.input.bind(py), input)?;
        }
        if environ.is_forwarded() {
            set_forwarded(py, environ, &dict)?;
        }
        // The host may come from a target in absolute form; an HTTP/1.0 request may have none.
        match environ.get("HTTP_HOST") {
            Some(host) => dict.set_item(keys.host.bind(py), latin1(py, &host)?)?,
            None => dict.del_item(keys.host.bind(py))?,
        }
        self.set_fields(py, environ, &dict)?;
        for (name, value) in environ.changes() {
            match value {
                Some(value) => dict.set_item(PyString::intern(py, name), latin1(py, value)?)?,
                None if dict.contains(name)? => dict.del_item(name)?,
                None => {}
            }
        }
        Ok((dict, socket))
    }

    /// Sets the entries that come from the request line.
    fn set_request_line(&self, py: Python<'_>, environ: &Environ<'_>, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        let keys = &self.keys;
        let head = environ.head();
        let method = head.method();
        if method != USUAL_METHOD.as_bytes() {
            match self.methods.iter().find(|(name, _)| name.as_bytes() == method) {
                Some((_, name)) => dict.set_item(keys.method.bind(py), name.bind(py))?,
                None => dict.set_item(keys.method.bind(py), latin1(py, method)?)?,
            }
        }
        let target = head.target();
        let uri = latin1(py, target)?;
        let (path, query) = match target.iter().position(|&byte| byte == b'?') {
            Some(end) => (&target[..end], &target[end + 1..]),
            None => (target, &b""[..]),
        };
        // A usual path needs no decoding.
        let plain = path.first() == Some(&b'/') && path.get(1) != Some(&b'/') && !path.contains(&b'%');
        if plain && query.is_empty() {
            dict.set_item(
                keys.path.bind(py),
                if path.len() == target.len() { uri.clone() } else { latin1(py, path)? },
            )?;
        } else {
            dict.set_item(keys.path.bind(py), latin1(py, &environ.path())?)?;
            dict.set_item(keys.query.bind(py), latin1(py, &environ.get("QUERY_STRING").unwrap_or_default())?)?;
        }
        dict.set_item(keys.raw_uri.bind(py), &uri)?;
        dict.set_item(keys.uri.bind(py), uri)?;
        let protocol = head.version().as_str();
        if protocol != USUAL_PROTOCOL {
            dict.set_item(keys.protocol.bind(py), PyString::intern(py, protocol))?;
        }
        Ok(())
    }

    /// Sets the entries that come from header fields, except for `Host`.
    fn set_fields(&self, py: Python<'_>, environ: &Environ<'_>, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut expected = dict.len();
        for field in environ.head().fields() {
            if field.name.eq_ignore_ascii_case(b"host") {
                continue;
            }
            if field.name.eq_ignore_ascii_case(b"content-length") && environ.get("CONTENT_LENGTH").is_none() {
                // Leniency may allow Content-Length together with Transfer-Encoding. Then it is not the length of the
                // body.
                continue;
            }
            let Some(key) = cached_field_key(py, field.name) else { continue };
            dict.set_item(key.bind(py), latin1(py, field.value)?)?;
            expected += 1;
        }
        if dict.len() != expected {
            // A field occurs more than once: the core joins its values.
            for field in environ.head().fields() {
                let Some(key) = field_key(py, field.name) else { continue };
                let key = key.bind(py);
                if let Some(value) = environ.get(key.to_str()?) {
                    dict.set_item(key, latin1(py, &value)?)?;
                }
            }
        }
        if let Some(length) = environ.collected_length() {
            // The server has collected and decoded a chunked body.
            let length = length.to_string();
            dict.set_item(PyString::intern(py, "CONTENT_LENGTH"), latin1(py, length.as_bytes())?)?;
            dict.del_item(PyString::intern(py, "HTTP_TRANSFER_ENCODING"))?;
        }
        Ok(())
    }

    fn connection_state(&self, py: Python<'_>, environ: &Environ<'_>) -> PyResult<ConnectionState> {
        let template = self.template.bind(py).copy()?;
        for name in ["wsgi.multithread", "wsgi.multiprocess"] {
            template.set_item(name, environ.get(name).is_some_and(|value| *value == b"true"[..]))?;
        }
        let texts = ["SERVER_NAME", "SERVER_PORT", "SERVER_SOFTWARE", "REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme"];
        for name in texts {
            // What proxies say may differ from request to request.
            template.set_item(PyString::intern(py, name), latin1(py, &environ.original(name).unwrap_or_default())?)?;
        }
        for (name, value) in environ.connection_variables() {
            template.set_item(name, latin1(py, value)?)?;
        }
        let early_hints = Py::new(py, EarlyHints::default())?;
        template.set_item("wsgi.early_hints", &early_hints)?;
        let client = Bound::new(py, ClientStatus::new(environ.client()))?;
        template.set_item("amboss.client_disconnected", client.getattr("is_disconnected")?)?;
        let is_plain = environ.original("wsgi.url_scheme").is_some_and(|scheme| *scheme == b"http"[..]);
        let socket = if is_plain {
            let socket = Py::new(py, ConnectionSocket::new(environ.client()))?;
            template.set_item(SOCKET, &socket)?;
            Some(socket)
        } else {
            None
        };
        Ok(ConnectionState::new(template.unbind(), early_hints, socket))
    }
}

/// Sets the entries that a trusted proxy has changed, and keeps their original values as Werkzeug's `ProxyFix` does.
/// `HTTP_HOST` follows with the fields.
fn set_forwarded(py: Python<'_>, environ: &Environ<'_>, dict: &Bound<'_, PyDict>) -> PyResult<()> {
    for name in ["REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME"] {
        dict.set_item(PyString::intern(py, name), latin1(py, &environ.get(name).unwrap_or_default())?)?;
    }
    let originals = PyDict::new(py);
    for name in ["REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME"] {
        let value = environ.original(name).map(|value| latin1(py, &value)).transpose()?;
        originals.set_item(PyString::intern(py, name), value)?;
    }
    dict.set_item(PyString::intern(py, "werkzeug.proxy_fix.orig"), originals)
}

/// Returns the key for a field name, which this thread may have cached.
fn cached_field_key(py: Python<'_>, name: &[u8]) -> Option<Py<PyString>> {
    FIELD_KEYS.with_borrow_mut(|keys| match keys.get(name) {
        Some(key) => key.as_ref().map(|key| key.clone_ref(py)),
        None => {
            let key = field_key(py, name);
            if keys.len() < MAX_CACHED_NAMES {
                keys.insert(name.into(), key.as_ref().map(|key| key.clone_ref(py)));
            }
            key
        }
    })
}

/// Returns the key for a field name; `None` if the name contains `_`, because it would get the same key as a name with
/// `-`.
fn field_key(py: Python<'_>, name: &[u8]) -> Option<Py<PyString>> {
    if name.contains(&b'_') {
        return None;
    }
    let upper: String =
        name.iter().map(|&byte| if byte == b'-' { '_' } else { byte.to_ascii_uppercase() as char }).collect();
    Some(match upper.as_str() {
        // PEP 3333 and RFC 3875 name these two without the prefix.
        "CONTENT_TYPE" | "CONTENT_LENGTH" => PyString::intern(py, &upper).unbind(),
        _ => PyString::intern(py, &format!("HTTP_{upper}")).unbind(),
    })
}
