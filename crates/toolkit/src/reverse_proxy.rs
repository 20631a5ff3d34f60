//! [`ReverseProxy`].

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use amboss_core::http::{allows_body, is_hop_by_hop, reason_phrase, Leniency, Target};
use amboss_core::{AppError, Application, Body, Environ, InputError, Log, StartResponse, TextLog};
use percent_encoding::{percent_encode, AsciiSet, CONTROLS};
use ureq::config::AutoHeaderValue;
use ureq::http::{uri, HeaderValue, Request, Uri};
use ureq::{Agent, SendBody};

use crate::error::HttpError;
use crate::request::environ_headers;

/// How long the server behind the proxy may take to accept a connection. It is on this machine or in this network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes of a response are read at once.
const BLOCK: usize = 64 * 1024;
/// What a target may contain and a URI may not (RFC 3986 §2).
const NOT_IN_URIS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// An application that passes requests on to another server by HTTP/1.1, and sends what that answers: as it arrives, in
/// both directions.
///
/// The method, the target and the fields of the environ are passed on, without those for a single connection (RFC 9110
/// §7.6.1). `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` say what the environ says of the client; other
/// `X-Forwarded-` fields, `Forwarded` and `X-Real-IP`, which the client may have sent, are left out. A server that can't be
/// reached is 502, and one that is silent for too long, 504. Connections can't be upgraded.
///
/// ```no_run
/// use amboss_core::ThreadedWsgiServer;
/// use amboss_toolkit::middleware::Dispatcher;
/// use amboss_toolkit::{Response, ReverseProxy};
///
/// let app = Dispatcher::new(Response::text("Hello!\n")).mount("/api", ReverseProxy::new("http://127.0.0.1:8000")?)?;
/// ThreadedWsgiServer::bind("localhost:5000", app)?.serve_forever()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReverseProxy {
    authority: uri::Authority,
    agent: Agent,
    log: Arc<dyn Log>,
}

/// The default of [`ReverseProxy::timeout`]: as long as nginx waits.
const TIMEOUT: Duration = Duration::from_secs(60);

impl ReverseProxy {
    /// Makes a proxy for the server at `http://host:port`.
    ///
    /// # Errors
    /// A URL of another form.
    pub fn new(url: &str) -> Result<ReverseProxy, ReverseProxyError> {
        let error = || ReverseProxyError(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| error())?;
        let authority = uri.authority().filter(|_| uri.scheme() == Some(&uri::Scheme::HTTP)).ok_or_else(error)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(error());
        }
        Ok(ReverseProxy { authority: authority.clone(), agent: agent(TIMEOUT), log: Arc::new(TextLog::stderr()) })
    }

    /// Sets how long the server may be silent: before its response, between two parts of it, and while it reads a request
    /// body; 60 seconds. A server that hangs takes a thread of this one for this long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> ReverseProxy {
        self.agent = agent(timeout);
        self
    }

    /// Sets the log for the reasons of 502 and 504; standard error by default.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> ReverseProxy {
        self.log = log;
        self
    }

    /// Makes the request without its body. `None` if the target can't be that of a URI.
    fn request(&self, environ: &Environ<'_>) -> Option<ureq::http::request::Builder> {
        let head = environ.head();
        let target = Target::of(&head, Leniency::default()).ok()?;
        let mut path = percent_encode(target.path, NOT_IN_URIS).to_string();
        if !target.query.is_empty() {
            path = format!("{path}?{}", percent_encode(target.query, NOT_IN_URIS));
        }
        let uri = Uri::builder().scheme("http").authority(self.authority.clone()).path_and_query(path).build().ok()?;
        let mut request = Request::builder().method(head.method()).uri(uri);
        let of_connection = listed(head.get_all("connection"));
        for (name, value) in environ_headers(environ).iter() {
            let is_own = matches!(name, "Host" | "Content-Length" | "Expect" | "Forwarded" | "X-Real-Ip")
                || name.starts_with("X-Forwarded-");
            if !is_own && !is_hop_by_hop(name) && !of_connection.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                request = request.header(name, value);
            }
        }
        for (name, key) in [
            ("Host", "HTTP_HOST"),
            ("X-Forwarded-Host", "HTTP_HOST"),
            ("X-Forwarded-For", "REMOTE_ADDR"),
            ("X-Forwarded-Proto", "wsgi.url_scheme"),
        ] {
            match environ.text(key) {
                // A client of a Unix socket.
                address if address == "<local>" => request = request.header(name, "127.0.0.1"),
                value if value.is_empty() => {}
                value => request = request.header(name, &*value),
            }
        }
        Some(request)
    }
}

/// The names in Connection fields: those of fields for this connection alone.
fn listed<'v>(values: impl Iterator<Item = &'v [u8]>) -> Vec<String> {
    let names = values.flat_map(|value| value.split(|&byte| byte == b','));
    names.map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect()
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(AutoHeaderValue::None)
        .accept(AutoHeaderValue::None)
        .accept_encoding(AutoHeaderValue::None)
        .allow_non_standard_methods(true)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout))
        // A kept connection may be closed by the server just when a request is sent that can't be repeated.
        .max_idle_connections(0)
        .build();
    Agent::new_with_config(config)
}

impl Application for ReverseProxy {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let Some(mut request) = self.request(environ) else {
            return HttpError::bad_request("The address of the request can't be passed on.").respond(start_response);
        };
        let length = environ.input().length();
        let result = match length {
            Some(0) if environ.header("Content-Length").is_none() => {
                request.body(()).map(|request| self.agent.run(request))
            }
            length => {
                if let Some(length) = length {
                    request = request.header("Content-Length", length);
                }
                let mut input: &mut dyn Read = environ.input();
                request.body(SendBody::from_reader(&mut input)).map(|request| self.agent.run(request))
            }
        };
        let response = match result {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return self.fail(error, start_response),
            // The server has checked the fields, and `http` is stricter.
            Err(error) => {
                return HttpError::bad_request(format!("The request can't be passed on: {error}."))
                    .respond(start_response)
            }
        };
        let (parts, body) = response.into_parts();
        let code = parts.status.as_u16();
        let status = format!("{code} {}", parts.status.canonical_reason().unwrap_or_else(|| reason_phrase(code)));
        let fields: Vec<_> = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let of_connection = listed(parts.headers.get_all("connection").iter().map(HeaderValue::as_bytes));
        let is_of_connection =
            |name: &str| is_hop_by_hop(name) || of_connection.iter().any(|other| other.eq_ignore_ascii_case(name));
        let fields: Vec<_> = fields.into_iter().filter(|(name, _)| !is_of_connection(name)).collect();
        start_response.begin(&status, &fields, None)?;
        if environ.method() == "HEAD" || !allows_body(code) {
            return Ok(Body::empty());
        }
        Ok(Body::try_iter(Blocks(Some(body.into_reader()))))
    }
}

impl ReverseProxy {
    /// Answers for a server that does not, and logs why.
    fn fail(&self, error: ureq::Error, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        // The request body can't be read: that is the client's fault.
        if let ureq::Error::Io(error) = &error {
            if let Some(input) = error.get_ref().and_then(|error| error.downcast_ref::<InputError>()) {
                return HttpError::new(input.status()).respond(start_response);
            }
        }
        self.log.error(&format!("the server at {} does not answer: {error}", self.authority));
        let (status, description) = match error {
            ureq::Error::Timeout(_) => (504, "The server of this address does not answer in time."),
            _ => (502, "The server of this address does not answer."),
        };
        HttpError::new(status).with_description(description).with_header("Retry-After", "1").respond(start_response)
    }
}

/// The blocks of a response, as they arrive.
struct Blocks<R>(Option<R>);

impl<R: Read> Iterator for Blocks<R> {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut block = vec![0; BLOCK];
        match self.0.as_mut()?.read(&mut block) {
            Ok(0) => None,
            Ok(count) => {
                block.truncate(count);
                Some(Ok(block))
            }
            Err(error) => {
                self.0 = None;
                Some(Err(error.into()))
            }
        }
    }
}

impl fmt::Debug for ReverseProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReverseProxy").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// A URL that is not `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReverseProxyError(String);

impl fmt::Display for ReverseProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the URL of a server: write it as http://127.0.0.1:8000", self.0)
    }
}

impl Error for ReverseProxyError {}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::{request_app, Response};
    use amboss_core::{run_wsgi_app, EnvironBuilder, ThreadedWsgiServer};

    #[test]
    fn a_request_and_its_response_are_passed_on_without_the_fields_of_a_connection() {
        let app = request_app(|request| {
            let text = request.text()?.to_owned();
            let fields = request.headers();
            let mut lines: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect();
            lines.sort();
            let line = format!("{} {} {text:?}", request.method(), request.url());
            Ok(Response::text(format!("{line}\n{}", lines.join("\n"))).with_status(203).with_header("X-Set", "yes"))
        });
        let mut server = ThreadedWsgiServer::bind("127.0.0.1:0", app).unwrap();
        let (port, handle) = (server.local_addrs()[0].port().unwrap(), server.shutdown_handle());
        let thread = std::thread::spawn(move || server.serve_forever());
        let proxy = ReverseProxy::new(&format!("http://127.0.0.1:{port}")).unwrap();
        let send = |builder: EnvironBuilder| {
            let builder =
                builder.base_url("https://shop.example").field("X-Own", "1").field("Connection", "close, X-Hop");
            let builder = builder
                .field("X-Hop", "1")
                .field("X-Forwarded-Prefix", "/x")
                .field("X_Forwarded_For", "6.6.6.6")
                .field("X-Forwarded-For", "6.6.6.6")
                .field("Forwarded", "for=6.6.6.6");
            run_wsgi_app(&proxy, &mut builder.build().unwrap().environ()).unwrap()
        };
        let fields = "Host: shop.example\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: shop.example\nX-Forwarded-Proto: https\nX-Own: 1";
        let response = send(EnvironBuilder::new("/a%20b/{c}?q=|&r"));
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(text, format!("GET https://shop.example/a%20b/%7Bc%7D?q=%7C&r \"\"\n{fields}"));
        assert_eq!(
            (response.status, response.header("X-Set"), response.header("Connection")),
            (203, Some(&b"yes"[..]), None)
        );
        for (method, body) in [("POST", "data"), ("DELETE", "data"), ("POST", ""), ("OPTIONS", "x")] {
            let response = send(EnvironBuilder::new("/").method(method).body(body));
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert!(text.starts_with(&format!("{method} https://shop.example/ {body:?}\n")), "{text}");
            assert!(text.contains(&format!("Content-Length: {}\n", body.len())), "{text}");
        }
        let streamed = send(EnvironBuilder::new("/").method("PUT").streamed_body(&b"streamed"[..], None));
        assert!(String::from_utf8_lossy(&streamed.body).starts_with("PUT https://shop.example/ \"streamed\"\n"));
        let head = send(EnvironBuilder::new("/").method("HEAD"));
        assert_eq!((head.status, head.body.len()), (203, 0));
        handle.shutdown();
        thread.join().unwrap().unwrap();
        assert_eq!(send(EnvironBuilder::new("/")).status, 502);
    }

    #[test]
    fn blocks_arrive_as_they_are_sent_and_a_cut_response_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = ReverseProxy::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let mut owned = EnvironBuilder::new("/").build().unwrap();
        let mut environ = owned.environ();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = socket.read(&mut request).unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
            socket
        });
        let mut body = proxy.call(&mut environ, &mut Head::default()).unwrap().into_iter();
        assert_eq!(body.next().unwrap().unwrap(), b"one");
        let mut socket = server.join().unwrap();
        socket.write_all(b"3\r\ntwo\r\n").unwrap();
        assert_eq!(body.next().unwrap().unwrap(), b"two");
        drop(socket);
        assert!(body.next().unwrap().is_err() && body.next().is_none());
    }

    #[test]
    fn a_redirect_is_passed_on_and_a_server_that_falls_silent_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = ReverseProxy::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let proxy = proxy.timeout(Duration::from_millis(100));
        let server = std::thread::spawn(move || {
            let head =
                "HTTP/1.1 302 Found\r\nLocation: /x\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 9\r\n\r\n";
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 1024]).unwrap();
            socket.write_all(format!("{head}begun").as_bytes()).unwrap();
            // The end of the connection: the proxy has given up.
            let _ = socket.read(&mut [0; 1024]);
        });
        let mut owned = EnvironBuilder::new("/").build().unwrap();
        let mut head = Head::default();
        let mut body = proxy.call(&mut owned.environ(), &mut head).unwrap().into_iter();
        assert_eq!(head.0, "302 Found");
        let names: Vec<_> = head.1.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["location", "content-length"]);
        assert_eq!(body.next().unwrap().unwrap(), b"begun");
        assert!(body.next().unwrap().is_err());
        drop(body);
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_does_not_answer_is_504() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = ReverseProxy::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let proxy = proxy.timeout(Duration::from_millis(50));
        let mut owned = EnvironBuilder::new("/").build().unwrap();
        assert_eq!(run_wsgi_app(&proxy, &mut owned.environ()).unwrap().status, 504);
    }

    #[test]
    fn only_the_url_of_a_server_is_accepted() {
        for url in ["", "127.0.0.1:80", "https://a", "http://", "http://a/b", "http://a/?b", "unix:/a"] {
            assert!(ReverseProxy::new(url).unwrap_err().to_string().contains("http://127.0.0.1:8000"), "{url}");
        }
        assert!(ReverseProxy::new("http://[::1]:80/").is_ok());
    }

    /// The status and the fields that were sent.
    #[derive(Default)]
    struct Head(String, Vec<(String, Vec<u8>)>);

    impl StartResponse for Head {
        fn begin(
            &mut self,
            status: &str,
            fields: &[(&str, &[u8])],
            _: Option<&AppError>,
        ) -> Result<(), amboss_core::StartError> {
            self.0 = status.to_owned();
            self.1 = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
            Ok(())
        }
        fn write(&mut self, _: &[u8]) -> Result<(), amboss_core::StartError> {
            Ok(())
        }
    }
}
