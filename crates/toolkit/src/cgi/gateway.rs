//! [`run_with_cgi`]: an application as a CGI script.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::panic::{catch_unwind, AssertUnwindSafe};

use amboss_core::http::is_hop_by_hop;
use amboss_core::{AppError, Application, EnvironBuilder, EnvironErrorKind, InputError, OwnedEnviron, Peer};
use percent_encoding::percent_encode;

use super::error::{CgiError, CgiErrorKind};
use super::output::Output;
use crate::percent::NOT_IN_PATHS;

/// Runs an application as a CGI script (RFC 3875), for one request: PEP 3333's `run_with_cgi`.
///
/// The request comes from the environment and standard input, and the response goes to standard output, each block as
/// soon as the application has made it. Every variable of the environment is a key of the environ, except `HTTP_PROXY`,
/// which is a field that the client may have sent (httpoxy, CVE-2016-5385). The body is read from standard input while
/// the application reads it, up to `CONTENT_LENGTH`; so there is no limit on its length, and none is needed.
///
/// ```no_run
/// use amboss_core::{AppError, Body, Environ, StartResponse};
/// use amboss_toolkit::cgi::{run_with_cgi, CgiError};
///
/// fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
///     Ok(Body::from("Hello world!\n"))
/// }
///
/// fn main() -> Result<(), CgiError> {
///     run_with_cgi(&hello)
/// }
/// ```
///
/// # Errors
/// A failure of the application, a malformed request, or a standard output that can't be written. Return it from `main`
/// as above: the message then goes to standard error, which servers log, and the exit status is 1. If the head was not
/// sent yet, the client gets a response with the status of the error, and otherwise an incomplete one.
pub fn run_with_cgi(app: &(impl Application + ?Sized)) -> Result<(), CgiError> {
    run_with_cgi_on(app, std::env::vars_os(), io::stdin(), &mut io::stdout())
}

/// Runs an application as [`run_with_cgi`] does, with this environment, input and output.
///
/// ```
/// # use amboss_core::{AppError, Body, Environ, StartResponse};
/// # use amboss_toolkit::cgi::run_with_cgi_on;
/// # fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
/// #     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
/// #     Ok(Body::from("Hello world!\n"))
/// # }
/// let mut output = Vec::new();
/// run_with_cgi_on(&hello, [("REQUEST_METHOD".into(), "GET".into())], std::io::empty(), &mut output)?;
/// let head = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n";
/// assert_eq!(output, [head, "Hello world!\n"].concat().as_bytes());
/// # Ok::<(), amboss_toolkit::cgi::CgiError>(())
/// ```
///
/// # Errors
/// As `run_with_cgi`.
pub fn run_with_cgi_on(
    app: &(impl Application + ?Sized),
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    input: impl Read + Send + 'static,
    output: &mut dyn Write,
) -> Result<(), CgiError> {
    let variables = Variables::new(variables);
    let method = variables.get("REQUEST_METHOD").ok_or(CgiErrorKind::NoRequest)?;
    let mut output = Output::new(output, method == b"HEAD");
    let failed = match variables.request(method, input) {
        Ok(mut owned) => catch_unwind(AssertUnwindSafe(|| respond(app, &mut owned, &mut output)))
            .unwrap_or(Err(Failed { status: 500, kind: CgiErrorKind::Panic })),
        Err(failed) => Err(failed),
    };
    match failed {
        Ok(()) => Ok(()),
        Err(Failed { kind: CgiErrorKind::Output(error), .. }) => Err(CgiErrorKind::Output(error).into()),
        Err(Failed { status, kind }) => {
            // If standard output fails as well, the first failure is the reason.
            let _ = output.send_error(status);
            Err(kind.into())
        }
    }
}

/// A failure, and the status for the client if it has got none.
struct Failed {
    status: u16,
    kind: CgiErrorKind,
}

impl Failed {
    fn request(message: impl Into<String>) -> Failed {
        Failed { status: 400, kind: CgiErrorKind::Request(message.into()) }
    }

    fn application(error: AppError) -> Failed {
        // The input wraps its errors in an `io::Error`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let input = wrapped.and_then(|error| error.downcast_ref()).or(error.downcast_ref::<InputError>());
        Failed { status: input.map_or(500, InputError::status), kind: CgiErrorKind::Application(error) }
    }
}

/// Calls the application, and sends its response.
fn respond(app: &(impl Application + ?Sized), owned: &mut OwnedEnviron, output: &mut Output<'_>) -> Result<(), Failed> {
    let result = app.call(&mut owned.environ(), output).and_then(|body| output.send_body(body));
    // An application passes a failed write on as its own error.
    match (output.take_failure(), result) {
        (Some(failure), _) => Err(Failed { status: 500, kind: CgiErrorKind::Output(failure) }),
        (None, Err(error)) => Err(Failed::application(error)),
        (None, Ok(())) => Ok(()),
    }
}

/// The environment of the process.
struct Variables(Vec<(String, Vec<u8>)>);

impl Variables {
    /// Takes the variables whose names are text. The keys of PEP 3333 come from the server, never from a variable.
    fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Variables {
        let named = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| !name.starts_with("wsgi."))?;
            Some((name, value.into_encoded_bytes()))
        });
        Variables(named.collect())
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// Makes the request that the variables describe.
    fn request(&self, method: &[u8], input: impl Read + Send + 'static) -> Result<OwnedEnviron, Failed> {
        let method = std::str::from_utf8(method).map_err(|_| Failed::request("REQUEST_METHOD is not ASCII"))?;
        let path = [self.get("SCRIPT_NAME").unwrap_or_default(), self.get("PATH_INFO").unwrap_or_default()].concat();
        let path = percent_encode(&path, NOT_IN_PATHS).to_string();
        let is_secure = matches!(self.text("HTTPS"), "on" | "1");
        let mut builder = EnvironBuilder::new(if path.starts_with('/') { path } else { format!("/{path}") })
            .method(method)
            .query(self.text("QUERY_STRING"))
            .peer(self.peer())
            .set("wsgi.url_scheme", if is_secure { "https" } else { "http" })
            .set("wsgi.multiprocess", "true")
            .set("wsgi.run_once", "true")
            // Servers may leave these out when they are empty (RFC 3875 §4.1).
            .set("SCRIPT_NAME", "")
            .set("PATH_INFO", "");
        for (name, value) in &self.0 {
            match (name.strip_prefix("HTTP_"), name.as_str()) {
                (Some(field), _) => {
                    if let Some(field) = field_name(field) {
                        builder = builder.field(field, value.as_slice());
                    }
                }
                (None, "CONTENT_TYPE") if !value.is_empty() => {
                    builder = builder.field("Content-Type", value.as_slice())
                }
                (None, "CONTENT_TYPE" | "CONTENT_LENGTH") => {}
                (None, name) => builder = builder.set(name, value.as_slice()),
            }
        }
        if self.get("HTTP_HOST").is_none() {
            builder = builder.remove("HTTP_HOST");
        }
        if let Some(length) = self.content_length()? {
            builder = builder.streamed_body(input, Some(length));
        }
        builder.build().map_err(|error| match error.kind() {
            EnvironErrorKind::Head(refused) => {
                Failed { status: refused.status(), kind: CgiErrorKind::Request(error.to_string()) }
            }
            _ => Failed::request(error.to_string()),
        })
    }

    /// The length of the body. RFC 3875 §4.1.2: without it, there is no body, and standard input must not be read.
    fn content_length(&self) -> Result<Option<u64>, Failed> {
        match self.get("CONTENT_LENGTH") {
            None | Some(b"") => Ok(None),
            Some(digits) if digits.iter().all(u8::is_ascii_digit) => match self.text("CONTENT_LENGTH").parse() {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(Failed::request("CONTENT_LENGTH is too large")),
            },
            Some(_) => Err(Failed::request("CONTENT_LENGTH is not a number")),
        }
    }

    fn peer(&self) -> Peer {
        match self.text("REMOTE_ADDR").parse::<IpAddr>() {
            Ok(address) => Peer::Tcp(SocketAddr::new(address, self.text("REMOTE_PORT").parse().unwrap_or(0))),
            Err(_) => Peer::Local,
        }
    }
}

/// The field of the variable `HTTP_` and this name; `None` if the application must not see it.
fn field_name(name: &str) -> Option<String> {
    let field = name.replace('_', "-");
    let is_valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let is_dropped = matches!(name, "PROXY" | "CONTENT_TYPE" | "CONTENT_LENGTH") || is_hop_by_hop(&field);
    (is_valid && !is_dropped).then_some(field)
}

#[cfg(test)]
mod tests;
