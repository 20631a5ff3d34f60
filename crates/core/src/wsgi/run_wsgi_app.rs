//! Calling an application without a server, with the checks of one.

use std::fmt;

use super::application::Application;
use super::environ::Environ;
use super::error::{AppError, StartError, StartErrorKind};
use super::start_response::StartResponse;
use crate::http::{allows_body, ResponseHead};

/// Calls an application and collects its response, as a server would send it. A middleware is an application, too.
///
/// The whole contract holds: the status and the fields are checked, `start_response` may be called a second time only
/// with an error and before the first byte, `write` needs a head, and the body is dropped (PEP 3333's `close()`) exactly
/// once, before this function returns. Unlike a server, which sends as much as the framing allows, this function treats
/// a body that differs from the declared Content-Length as an error, and an error of the application is returned, not
/// turned into a 500. A panic of the application continues in the caller.
///
/// ```
/// use amboss_core::{create_environ, run_wsgi_app, AppError, Body, Environ, StartResponse};
///
/// fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
///     Ok(Body::from(format!("Hello {}!\n", environ.path())))
/// }
///
/// let mut owned = create_environ("/world", "http://localhost:8080")?;
/// let response = run_wsgi_app(&hello, &mut owned.environ())?;
/// assert_eq!((response.status, response.body.as_slice()), (200, &b"Hello /world!\n"[..]));
/// assert_eq!(response.header("content-type"), Some(&b"text/plain"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The application's error, or the point in which its response breaks the contract.
pub fn run_wsgi_app(app: &(impl Application + ?Sized), environ: &mut Environ<'_>) -> Result<AppResponse, RunAppError> {
    let is_head = environ.method() == "HEAD";
    let mut recorder = Recorder::default();
    let body = app.call(environ, &mut recorder).map_err(RunAppErrorKind::App)?;
    if recorder.head.is_none() {
        return Err(RunAppErrorKind::NotStarted.into());
    }
    for block in body {
        recorder.body.extend_from_slice(&block.map_err(RunAppErrorKind::App)?);
    }
    recorder.finish(is_head)
}

/// The response of an application that [`run_wsgi_app`] has called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppResponse {
    /// The status code.
    pub status: u16,
    /// The status as the application gave it, such as `200 OK`.
    pub status_line: String,
    /// The header fields of the application, in order. Fields that a server adds (`Date`, `Server`, the framing) are
    /// not among them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, as a client receives it: empty for HEAD and for a status without a body (RFC 9110 §6.4.1).
    pub body: Vec<u8>,
    /// The fields of each `103 Early Hints` response.
    pub early_hints: Vec<Vec<(String, Vec<u8>)>>,
}

impl AppResponse {
    /// The value of the first field with this name, which is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// The server's side of the contract, which records instead of sending.
#[derive(Default)]
struct Recorder {
    head: Option<ResponseHead>,
    status_line: String,
    fields: Vec<(String, Vec<u8>)>,
    /// Whether `write` has sent the head.
    is_head_sent: bool,
    body: Vec<u8>,
    early_hints: Vec<Vec<(String, Vec<u8>)>>,
}

impl Recorder {
    fn finish(self, is_head: bool) -> Result<AppResponse, RunAppError> {
        let Some(head) = self.head else { return Err(RunAppErrorKind::NotStarted.into()) };
        let has_body = !is_head && allows_body(head.status());
        let given = self.body.len() as u64;
        if let Some(declared) = head.content_length().filter(|&declared| has_body && declared != given) {
            return Err(RunAppErrorKind::Length { declared, given }.into());
        }
        Ok(AppResponse {
            status: head.status(),
            status_line: self.status_line,
            fields: self.fields,
            body: if has_body { self.body } else { Vec::new() },
            early_hints: self.early_hints,
        })
    }
}

fn owned(fields: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
}

impl StartResponse for Recorder {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        match (&self.head, error) {
            (Some(_), None) => return Err(StartErrorKind::Twice.into()),
            (Some(_), Some(_)) if self.is_head_sent => return Err(StartErrorKind::HeadSent.into()),
            _ => {}
        }
        self.head = None;
        let head = ResponseHead::start(&mut Vec::new(), status, fields.iter().copied());
        self.head = Some(head.map_err(StartErrorKind::Response)?);
        self.status_line = status.to_owned();
        self.fields = owned(fields);
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        if self.head.is_none() {
            return Err(StartErrorKind::NotStarted.into());
        }
        self.is_head_sent |= !data.is_empty();
        self.body.extend_from_slice(data);
        Ok(())
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        if self.is_head_sent {
            return Err(StartErrorKind::HeadSent.into());
        }
        ResponseHead::early_hints(&mut Vec::new(), fields.iter().copied()).map_err(StartErrorKind::Response)?;
        self.early_hints.push(owned(fields));
        Ok(())
    }
}

/// The reason why [`run_wsgi_app`] has no response.
#[derive(Debug)]
pub struct RunAppError {
    kind: RunAppErrorKind,
}

/// The kinds of [`RunAppError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum RunAppErrorKind {
    /// The application, or the iterator of its body, returned an error.
    App(AppError),
    /// The application returned without calling `start_response`.
    NotStarted,
    /// The body is not as long as the Content-Length of the application.
    Length {
        /// The Content-Length.
        declared: u64,
        /// The number of bytes of the body.
        given: u64,
    },
}

impl RunAppError {
    /// The kind of the error.
    pub fn kind(&self) -> &RunAppErrorKind {
        &self.kind
    }

    /// Converts into the kind of the error, which owns the application's error.
    pub fn into_kind(self) -> RunAppErrorKind {
        self.kind
    }
}

impl From<RunAppErrorKind> for RunAppError {
    fn from(kind: RunAppErrorKind) -> RunAppError {
        RunAppError { kind }
    }
}

impl fmt::Display for RunAppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RunAppErrorKind::App(error) => write!(f, "the application failed: {error}"),
            RunAppErrorKind::NotStarted => f.write_str("the application returned without calling start_response"),
            RunAppErrorKind::Length { declared, given } => {
                write!(f, "the application declared a Content-Length of {declared} but gave {given} bytes")
            }
        }
    }
}

impl std::error::Error for RunAppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RunAppErrorKind::App(error) => Some(&**error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Body;
    use super::super::unconnected::create_environ;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    type Result<T> = std::result::Result<T, AppError>;

    fn run(
        method: &str,
        app: impl Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body> + Send + Sync,
    ) -> std::result::Result<AppResponse, RunAppError> {
        let mut owned = super::super::unconnected::EnvironBuilder::new("/").method(method).build().unwrap();
        run_wsgi_app(&app, &mut owned.environ())
    }

    #[test]
    fn a_response_has_status_fields_and_body() {
        let response = run("GET", |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            start_response.early_hints(&[("Link", b"</a.css>; rel=preload")])?;
            start_response.begin("404 Nowhere", &[("X-A", b"1"), ("x-a", b"\xe4")], None)?;
            start_response.write(b"written, ")?;
            Ok(Body::iter([b"one".to_vec(), Vec::new(), b", two".to_vec()]))
        })
        .unwrap();
        assert_eq!((response.status, response.status_line.as_str()), (404, "404 Nowhere"));
        assert_eq!(response.fields, [("X-A".to_owned(), b"1".to_vec()), ("x-a".to_owned(), vec![0xe4])]);
        assert_eq!((response.header("X-a"), response.header("X-B")), (Some(&b"1"[..]), None));
        assert_eq!(response.body, b"written, one, two");
        assert_eq!(response.early_hints[0][0].0, "Link");
    }

    /// Calls `start_response` in a way that breaks the contract, and returns the error.
    fn broken(app: fn(&mut dyn StartResponse) -> Result<Body>) -> String {
        run("GET", move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| app(start_response))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_response_that_breaks_the_contract_is_an_error() {
        for (part, app) in [
            ("without calling start_response", (|_| Ok(Body::from("x"))) as fn(&mut dyn StartResponse) -> Result<Body>),
            ("start_response was called twice", |start| {
                start.start("200 OK", &[])?;
                start.start("200 OK", &[])?;
                Ok(Body::empty())
            }),
            ("the head has been sent", |start| {
                start.start("200 OK", &[])?;
                start.write(b"x")?;
                start.begin("500 Late", &[], Some(&"late".into()))?;
                Ok(Body::empty())
            }),
            ("write was called before", |start| {
                start.write(b"x")?;
                Ok(Body::empty())
            }),
            ("the application failed: as asked", |_| Err("as asked".into())),
            ("the application failed: midway", |start| {
                start.start("200 OK", &[])?;
                Ok(Body::try_iter([Ok(b"x".to_vec()), Err("midway".into())]))
            }),
            ("Content-Length of 3 but gave 2", |start| {
                start.start("200 OK", &[("Content-Length", "3")])?;
                Ok(Body::from("ab"))
            }),
            ("Content-Length of 1 but gave 2", |start| {
                start.start("200 OK", &[("Content-Length", "1")])?;
                Ok(Body::from("ab"))
            }),
            ("X-Split", |start| {
                start.start("200 OK", &[("X-Split", "a\r\nSet-Cookie: b")])?;
                Ok(Body::empty())
            }),
            ("Connection", |start| {
                start.start("200 OK", &[("Connection", "close")])?;
                Ok(Body::empty())
            }),
            ("20", |start| {
                start.start("20 OK", &[])?;
                Ok(Body::empty())
            }),
        ] {
            let message = broken(app);
            assert!(message.contains(part), "{message:?} does not contain {part:?}");
        }
    }

    #[test]
    fn a_second_start_with_an_error_replaces_the_head() {
        let response = run("GET", |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            start_response.start("200 OK", &[("X-First", "1")])?;
            start_response.begin("500 Failed", &[], Some(&"why".into()))?;
            Ok(Body::from("sorry"))
        })
        .unwrap();
        assert_eq!((response.status, response.fields.len(), response.body.as_slice()), (500, 0, &b"sorry"[..]));
    }

    #[test]
    fn a_body_that_no_client_receives_is_empty() {
        let app = |status: &'static str| {
            move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                start_response.start(status, &[("Content-Length", "9")])?;
                Ok(Body::from("a body"))
            }
        };
        for (method, status) in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")] {
            let response = run(method, app(status)).unwrap();
            assert!(response.body.is_empty(), "{method} {status}");
        }
    }

    #[test]
    fn a_body_is_closed_exactly_once_also_after_an_error() {
        let closed = Arc::new(AtomicUsize::new(0));
        for fails in [false, true] {
            for starts in [false, true] {
                let counter = closed.clone();
                let before = closed.load(Ordering::Relaxed);
                let app = move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                    if starts {
                        start_response.start("200 OK", &[])?;
                    }
                    let counter = counter.clone();
                    let last = if fails { Err("midway".into()) } else { Ok(b"y".to_vec()) };
                    Ok(Body::try_iter([Ok(b"x".to_vec()), last]).on_close(move || {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }))
                };
                let result = run("GET", app);
                assert_eq!(result.is_ok(), starts && !fails);
                assert_eq!(closed.load(Ordering::Relaxed), before + 1);
            }
        }
    }

    #[test]
    fn middleware_is_an_application() {
        struct Upper<A>(A);
        impl<A: Application> Application for Upper<A> {
            fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body> {
                let body = self.0.call(environ, start_response)?;
                Ok(Body::try_iter(body.into_iter().map(|block| block.map(|block| block.to_ascii_uppercase()))))
            }
        }
        let hello = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            start_response.start("200 OK", &[])?;
            Ok(Body::from(environ.path().into_bytes()))
        };
        let mut owned = create_environ("/hello", "http://localhost").unwrap();
        for app in [&Upper(hello) as &dyn Application, &Upper(Upper(hello))] {
            assert_eq!(run_wsgi_app(app, &mut owned.environ()).unwrap().body, b"/HELLO");
        }
    }
}
