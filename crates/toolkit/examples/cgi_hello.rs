//! An application as a CGI script: copy the binary into the `cgi-bin` folder of any web server.
//!
//! It greets, and returns the body of a POST request. `/stream` sends one line for each block, `/fail` fails midway.

use std::io::Read;

use amboss_core::{AppError, Body, Environ, StartResponse};
use amboss_toolkit::cgi::{run_with_cgi, CgiError};

fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let mut body = Vec::new();
    environ.input().read_to_end(&mut body)?;
    start_response
        .start("200 OK", &[("Content-Type", "text/plain"), ("X-Scheme", &environ.text("wsgi.url_scheme"))])?;
    let path = environ.path().to_string_lossy().into_owned();
    Ok(match path.as_str() {
        "/stream" => Body::iter((0..3).map(|n| format!("line {n}\n").into_bytes())),
        "/fail" => Body::try_iter([Ok(b"first\n".to_vec()), Err("it failed on purpose".into())]),
        _ if environ.method() == "POST" => Body::from(body),
        _ => Body::from(format!("Hello {}{path}!\n", environ.text("SCRIPT_NAME"))),
    })
}

fn main() -> Result<(), CgiError> {
    run_with_cgi(&hello)
}
