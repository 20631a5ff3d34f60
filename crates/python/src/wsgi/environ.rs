//! `environ` as a plain dict of native strings.
//!
//! What is the same for all requests of a server is put together once, what is the same for a connection once for each
//! connection; a request copies that and adds what is its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use amboss::{Environ, ShutdownHandle};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::runtime::ffi::{latin1, references};
use crate::wsgi::environ_objects::{Connection, EarlyHints, Errors, Shutdown};
use crate::wsgi::file_wrapper::FileWrapper;
use crate::wsgi::input::{EmptyInput, Input};
use crate::wsgi::socket::ConnectionSocket;
use crate::wsgi::start_response::Exchange;
use crate::Log;

/// Header names that are remembered with their keys: more than clients use, fewer than an attacker can think of.
const NAMES: usize = 512;

/// Keys by the names of fields as they are sent; none for a field that the environ has no place for.
type Names = HashMap<Box<[u8]>, Option<Py<PyString>>>;

/// Makes the environ of each request.
pub(crate) struct Environs {
    template: Py<PyDict>,
    empty_input: Py<EmptyInput>,
    names: Mutex<Names>,
    methods: HashMap<&'static [u8], Py<PyString>>,
    versions: [Py<PyString>; 2],
    empty: Py<PyString>,
    keys: Keys,
}

macro_rules! keys {
    ($($field:ident = $name:literal,)*) => {
        struct Keys { $($field: Py<PyString>,)* }
        impl Keys {
            fn new(py: Python<'_>) -> Keys {
                Keys { $($field: PyString::intern(py, $name).unbind(),)* }
            }
            /// Holds the places that every request fills, so that a copy of the dict does not have to grow for them.
            fn reserve(&self, dict: &Bound<'_, PyDict>) -> PyResult<()> {
                $(dict.set_item(self.$field.bind(dict.py()), "")?;)*
                Ok(())
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

/// What stays with a connection.
pub(crate) struct Kept {
    template: Py<PyDict>,
    early_hints: Py<EarlyHints>,
    /// `werkzeug.socket`; `None` over TLS.
    socket: Mutex<Option<Py<ConnectionSocket>>>,
    /// The handlers of requests that have not been logged yet, in their order, when the user has a class for them; `None`
    /// for one that could not be made.
    pub(crate) handlers: Mutex<VecDeque<Option<Py<PyAny>>>>,
}

/// What the environ says about the server.
pub(crate) struct About {
    pub(crate) log: Log,
    pub(crate) shutdown: Arc<OnceLock<ShutdownHandle>>,
}

impl Environs {
    pub(crate) fn new(py: Python<'_>, about: &About) -> PyResult<Environs> {
        let template = PyDict::new(py);
        let empty = PyString::intern(py, "");
        template.set_item("wsgi.version", (1, 0))?;
        template.set_item("wsgi.errors", Py::new(py, Errors::new(about.log.clone()))?)?;
        template.set_item("wsgi.run_once", false)?;
        template.set_item("wsgi.input_terminated", true)?;
        template.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        template.set_item("werkzeug.server.shutdown", Py::new(py, Shutdown::new(about.shutdown.clone()))?)?;
        template.set_item("SCRIPT_NAME", &empty)?;
        let methods: [&'static str; 9] =
            ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"];
        let methods = methods.iter().map(|name| (name.as_bytes(), PyString::intern(py, name).unbind())).collect();
        let version = |name| PyString::intern(py, name).unbind();
        Ok(Environs {
            template: template.unbind(),
            empty_input: Py::new(py, EmptyInput)?,
            names: Mutex::new(HashMap::new()),
            methods,
            versions: [version("HTTP/1.1"), version("HTTP/1.0")],
            empty: empty.unbind(),
            keys: Keys::new(py),
        })
    }

    /// The environ of a request, and its `werkzeug.socket`.
    pub(crate) fn make<'py>(
        &self,
        py: Python<'py>,
        environ: &mut Environ<'_>,
        exchange: &Bound<'py, Exchange>,
    ) -> PyResult<(Bound<'py, PyDict>, Option<Bound<'py, ConnectionSocket>>)> {
        if environ.connection_extensions().get::<Kept>().is_none() {
            let kept = self.connection(py, environ)?;
            environ.connection_extensions().insert(kept);
        }
        let Some(kept) = environ.connection_extensions().get::<Kept>() else { unreachable!("it was just put there") };
        kept.early_hints.get().follow(exchange);
        let socket = kept.socket(py)?;
        if let Some(socket) = &socket {
            socket.get().begin(exchange);
        }
        let dict = kept.template.bind(py).copy()?;
        let keys = &self.keys;

        let head = environ.head();
        let method = head.method();
        match self.methods.get(method) {
            Some(name) => dict.set_item(keys.method.bind(py), name.bind(py))?,
            None => dict.set_item(keys.method.bind(py), latin1(py, method)?)?,
        }
        let target = head.target();
        let uri = latin1(py, target)?;
        let (path, query) = match target.iter().position(|&byte| byte == b'?') {
            Some(end) => (&target[..end], &target[end + 1..]),
            None => (target, &b""[..]),
        };
        // The usual path is its own decoded form.
        let plain = path.first() == Some(&b'/') && path.get(1) != Some(&b'/') && !path.contains(&b'%');
        if plain && query.is_empty() {
            dict.set_item(
                keys.path.bind(py),
                if path.len() == target.len() { uri.clone() } else { latin1(py, path)? },
            )?;
            dict.set_item(keys.query.bind(py), self.empty.bind(py))?;
        } else {
            dict.set_item(keys.path.bind(py), latin1(py, &environ.path())?)?;
            dict.set_item(keys.query.bind(py), latin1(py, &environ.get("QUERY_STRING").unwrap_or_default())?)?;
        }
        dict.set_item(keys.raw_uri.bind(py), &uri)?;
        dict.set_item(keys.uri.bind(py), uri)?;
        let version = usize::from(head.version().as_str() == "HTTP/1.0");
        dict.set_item(keys.protocol.bind(py), self.versions[version].bind(py))?;
        if exchange.get().progress.left() == Some(0) {
            dict.set_item(keys.input.bind(py), self.empty_input.bind(py))?;
        } else {
            dict.set_item(keys.input.bind(py), Py::new(py, Input::new(exchange.clone().unbind()))?)?;
        }
        // An absolute-form target names the host, and a client of HTTP/1.0 may name none.
        match environ.get("HTTP_HOST") {
            Some(host) => dict.set_item(keys.host.bind(py), latin1(py, &host)?)?,
            None => dict.del_item(keys.host.bind(py))?,
        }
        self.fields(py, environ, &dict)?;
        Ok((dict, socket))
    }

    fn fields(&self, py: Python<'_>, environ: &Environ<'_>, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut expected = dict.len();
        let mut names = self.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for field in environ.head().fields() {
            if field.name.eq_ignore_ascii_case(b"host") {
                continue;
            }
            if field.name.eq_ignore_ascii_case(b"content-length") && environ.get("CONTENT_LENGTH").is_none() {
                // Where leniency lets it stand beside a Transfer-Encoding, it is not the length of the body.
                continue;
            }
            let key = match names.get(field.name) {
                Some(Some(key)) => key.clone_ref(py),
                Some(None) => continue,
                None => {
                    let key = key(py, field.name);
                    if names.len() < NAMES {
                        names.insert(field.name.into(), key.as_ref().map(|key| key.clone_ref(py)));
                    }
                    match key {
                        Some(key) => key,
                        None => continue,
                    }
                }
            };
            dict.set_item(key.bind(py), latin1(py, field.value)?)?;
            expected += 1;
        }
        if dict.len() != expected {
            // A name came twice: those are joined as the core joins them.
            for field in environ.head().fields() {
                let Some(key) = key(py, field.name) else { continue };
                let key = key.bind(py);
                if let Some(value) = environ.get(key.to_str()?) {
                    dict.set_item(key, latin1(py, &value)?)?;
                }
            }
        }
        if let Some(length) = environ.collected_length() {
            // The chunked coding has been removed.
            let length = length.to_string();
            dict.set_item(PyString::intern(py, "CONTENT_LENGTH"), latin1(py, length.as_bytes())?)?;
            dict.del_item(PyString::intern(py, "HTTP_TRANSFER_ENCODING"))?;
        }
        Ok(())
    }

    fn connection(&self, py: Python<'_>, environ: &Environ<'_>) -> PyResult<Kept> {
        let template = self.template.bind(py).copy()?;
        for name in ["wsgi.multithread", "wsgi.multiprocess"] {
            template.set_item(name, environ.get(name).is_some_and(|value| *value == b"true"[..]))?;
        }
        let texts = ["SERVER_NAME", "SERVER_PORT", "SERVER_SOFTWARE", "REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme"];
        for name in texts {
            template.set_item(PyString::intern(py, name), latin1(py, &environ.get(name).unwrap_or_default())?)?;
        }
        for (name, value) in environ.connection_variables() {
            template.set_item(name, latin1(py, value)?)?;
        }
        let early_hints = Py::new(py, EarlyHints::default())?;
        template.set_item("wsgi.early_hints", &early_hints)?;
        let client = environ.client();
        let plain = environ.get("wsgi.url_scheme").is_some_and(|scheme| *scheme == b"http"[..]);
        let connection = Bound::new(py, Connection::new(client))?;
        template.set_item("amboss.client_disconnected", connection.getattr("has_left")?)?;
        let socket = if plain {
            let socket = Py::new(py, ConnectionSocket::new(environ.client()))?;
            template.set_item(SOCKET, &socket)?;
            Some(socket)
        } else {
            None
        };
        self.keys.reserve(&template)?;
        Ok(Kept { template: template.unbind(), early_hints, socket: Mutex::new(socket), handlers: Mutex::default() })
    }
}

const SOCKET: &str = "werkzeug.socket";

impl Kept {
    /// The socket for a request: the last one's, unless an application has kept that.
    fn socket<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, ConnectionSocket>>> {
        // Held by `socket` and by the template.
        const HOLDERS: usize = 2;
        let mut socket = self.socket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(last) = &*socket else { return Ok(None) };
        if references(last.bind(py)) > HOLDERS {
            let fresh = Py::new(py, last.get().renewed())?;
            self.template.bind(py).set_item(SOCKET, &fresh)?;
            *socket = Some(fresh);
        }
        Ok(socket.as_ref().map(|socket| socket.bind(py).clone()))
    }
}

/// The key for a field's name; `None` for names with `_`, which could pass for names with `-`.
fn key(py: Python<'_>, name: &[u8]) -> Option<Py<PyString>> {
    if name.contains(&b'_') {
        return None;
    }
    let upper: String =
        name.iter().map(|&byte| if byte == b'-' { '_' } else { byte.to_ascii_uppercase() as char }).collect();
    Some(match upper.as_str() {
        // PEP 3333 and RFC 3875: these two have names of their own.
        "CONTENT_TYPE" | "CONTENT_LENGTH" => PyString::intern(py, &upper).unbind(),
        _ => PyString::intern(py, &format!("HTTP_{upper}")).unbind(),
    })
}
