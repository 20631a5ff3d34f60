use std::io::{BufRead, Cursor, Read};
use std::sync::{Arc, Mutex};

use amboss_core::{AppError, Body, Environ, StartResponse};

use super::*;

type Respond = fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError>;

fn run_on(
    app: &impl Application,
    variables: &[(&str, &str)],
    input: &str,
    output: &mut dyn Write,
) -> Result<(), CgiError> {
    let variables: Vec<_> = variables.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    run_with_cgi_on(app, variables, Cursor::new(input.as_bytes().to_vec()), output)
}

fn run(app: &impl Application, variables: &[(&str, &str)], input: &str) -> (String, Result<(), CgiError>) {
    let mut output = Vec::new();
    let result = run_on(app, variables, input, &mut output);
    (String::from_utf8(output).unwrap(), result)
}

const GET: &[(&str, &str)] = &[("REQUEST_METHOD", "GET")];
const HEAD: &[(&str, &str)] = &[("REQUEST_METHOD", "HEAD")];

#[test]
fn the_environ_is_what_the_server_has_set() {
    let variables = [
        ("REQUEST_METHOD", "PUT"),
        ("SCRIPT_NAME", "/cgi/app"),
        ("PATH_INFO", "/a b/%41/ä"),
        ("QUERY_STRING", "x=%20&y"),
        ("REQUEST_URI", "/cgi/app/a%20b/%2541/%C3%A4?x=%20&y"),
        ("SERVER_NAME", "example.org"),
        ("SERVER_PORT", "443"),
        ("SERVER_PROTOCOL", "HTTP/1.0"),
        ("SERVER_SOFTWARE", "other/1"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("REMOTE_PORT", "99"),
        ("REMOTE_USER", "ada"),
        ("HTTPS", "on"),
        ("CONTENT_TYPE", "text/plain"),
        ("CONTENT_LENGTH", "5"),
        ("HTTP_USER_AGENT", "me"),
        ("HTTP_PROXY", "http://evil"),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
        ("HTTP_X_lower", "x"),
        ("DOCUMENT_ROOT", "/srv"),
        ("wsgi.run_once", "false"),
    ];
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        for (key, value) in &variables[..17] {
            if *key != "HTTP_PROXY" {
                assert_eq!(environ.text(key), *value, "{key}");
            }
        }
        for (key, value) in [
            ("DOCUMENT_ROOT", "/srv"),
            ("wsgi.url_scheme", "https"),
            ("wsgi.run_once", "true"),
            ("wsgi.multiprocess", "true"),
            ("wsgi.multithread", "false"),
        ] {
            assert_eq!(environ.text(key), value, "{key}");
        }
        for key in ["HTTP_PROXY", "HTTP_HOST", "HTTP_TRANSFER_ENCODING", "HTTP_X_lower", "HTTP_CONTENT_LENGTH"] {
            assert!(environ.get(key).is_none(), "{key}");
        }
        assert_eq!(environ.header("user-agent").unwrap(), "me");
        let mut body = String::new();
        environ.input().read_to_string(&mut body)?;
        assert_eq!(body, "hello", "the body ends at CONTENT_LENGTH");
        start_response.start("204 No Content", &[])?;
        Ok(Body::empty())
    };
    let (output, result) = run(&app, &variables, "hello and more");
    result.unwrap();
    assert_eq!(output, "Status: 204 No Content\r\n\r\n");
}

#[test]
fn variables_that_are_missing_are_empty() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        for key in ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING"] {
            assert_eq!(environ.get(key).unwrap(), "", "{key}");
        }
        assert_eq!((environ.text("wsgi.url_scheme"), environ.get("CONTENT_LENGTH")), ("http".into(), None));
        assert!(environ.input().fill_buf()?.is_empty(), "without CONTENT_LENGTH there is no body");
        start_response.start("204", &[])?;
        Ok(Body::empty())
    };
    run(&app, &[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", ""), ("CONTENT_TYPE", "")], "x").1.unwrap();
}

#[test]
fn responses_have_status_fields_and_body() {
    let plain = "Status: 200 OK\r\nContent-Type: text/plain\r\n";
    type Case<'a> = (Respond, &'a [(&'a str, &'a str)], String);
    let cases: [Case<'_>; 10] = [
        (
            |_, s| s.start("200 OK", &[("Content-Type", "text/plain")]).map(|()| "hi".into()).map_err(Into::into),
            GET,
            format!("{plain}Content-Length: 2\r\n\r\nhi"),
        ),
        (
            |_, s| s.start("200 OK", &[("Content-Type", "text/plain")]).map(|()| "hi".into()).map_err(Into::into),
            HEAD,
            format!("{plain}Content-Length: 2\r\n\r\n"),
        ),
        (
            |_, s| s.start("200", &[]).map(|()| "hi".into()).map_err(Into::into),
            GET,
            "Status: 200 OK\r\nContent-Length: 2\r\nContent-Type: application/octet-stream\r\n\r\nhi".into(),
        ),
        (
            |_, s| s.start("200 OK", &[]).map(|()| Body::empty()).map_err(Into::into),
            GET,
            "Status: 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
        ),
        (
            |_, s| s.start("304 Not Modified", &[("ETag", "x")]).map(|()| "no".into()).map_err(Into::into),
            GET,
            "Status: 304 Not Modified\r\nETag: x\r\nContent-Length: 2\r\n\r\n".into(),
        ),
        // The head is that of the second call, as nothing was sent.
        (
            |_, s| {
                s.start("200 OK", &[])?;
                s.begin("500 Oh", &[("Content-Type", b"a/b")], Some(&"error".into()))?;
                Ok(Body::iter([vec![], b"x".to_vec()]))
            },
            GET,
            "Status: 500 Oh\r\nContent-Type: a/b\r\n\r\nx".into(),
        ),
        (
            |_, s| {
                s.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "3")])?;
                s.write(b"a")?;
                Ok("bcdef".into())
            },
            GET,
            format!("{plain}Content-Length: 3\r\n\r\nabc"),
        ),
        // A response that breaks the contract is 500.
        (|_, _| Ok("no head".into()), GET, String::new()),
        (
            |_, s| s.start("200 OK", &[("X", "a\r\nY: b")]).map(|()| Body::empty()).map_err(Into::into),
            GET,
            String::new(),
        ),
        (
            |_, s| s.start("200 OK", &[("Connection", "x")]).map(|()| Body::empty()).map_err(Into::into),
            GET,
            String::new(),
        ),
    ];
    for (app, variables, expected) in cases {
        let (output, result) = run(&app, variables, "");
        match expected.as_str() {
            "" => {
                assert!(output.starts_with("Status: 500 Internal Server Error\r\n"), "{output}");
                assert!(matches!(result.unwrap_err().kind(), CgiErrorKind::Application(_)));
            }
            expected => {
                result.unwrap();
                assert_eq!(output, expected);
            }
        }
    }
}

#[test]
fn a_failure_before_the_head_is_a_response_and_after_it_an_incomplete_one() {
    let cases: [(Respond, &str, bool); 6] = [
        (|_, _| Err("oh".into()), "Status: 500 ", true),
        (
            |_, s| s.start("200 OK", &[]).map(|()| Body::try_iter([Err("oh".into())])).map_err(Into::into),
            "Status: 500 ",
            true,
        ),
        (|_, _| panic!("on purpose"), "Status: 500 ", true),
        (
            |environ, _| environ.input().read_to_end(&mut Vec::new()).map(|_| Body::empty()).map_err(Into::into),
            "Status: 400 ",
            true,
        ),
        (
            |_, s| {
                s.start("200 OK", &[("Content-Type", "a/b")])?;
                Ok(Body::try_iter([Ok(b"x".to_vec()), Err("oh".into())]))
            },
            "Status: 200 OK\r\nContent-Type: a/b\r\n\r\nx",
            false,
        ),
        (
            |_, s| {
                s.start("200 OK", &[("Content-Type", "a/b"), ("Content-Length", "2")])?;
                Ok(Body::from("x"))
            },
            "Status: 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nx",
            false,
        ),
    ];
    for (app, expected, is_page) in cases {
        let (output, result) = run(&app, &[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "9")], "short");
        assert!(result.is_err() && output.starts_with(expected), "{output}");
        assert!(is_page || output == expected, "{output}");
    }
}

#[test]
fn a_request_that_is_malformed_never_reaches_the_application() {
    let app = |_: &mut Environ<'_>, _: &mut dyn StartResponse| -> Result<Body, AppError> { panic!("called") };
    for (name, value, status) in [
        ("CONTENT_LENGTH", "x", 400),
        ("CONTENT_LENGTH", "-1", 400),
        ("CONTENT_LENGTH", "18446744073709551616", 400),
        ("REQUEST_METHOD", "G T", 400),
        ("REQUEST_METHOD", "", 400),
        ("HTTP_X", "a\r\nY: b", 400),
        ("HTTP_X", "a\0", 400),
    ] {
        let variables = [(name, value), ("REQUEST_METHOD", "GET")];
        let (output, result) = run(&app, &variables, "");
        assert!(output.starts_with(&format!("Status: {status} ")), "{name}={value:?}: {output}");
        assert!(matches!(result.unwrap_err().kind(), CgiErrorKind::Request(_)), "{name}={value:?}");
    }
    let (output, result) = run(&app, &[("PATH", "/bin")], "");
    assert!(output.is_empty() && matches!(result.unwrap_err().kind(), CgiErrorKind::NoRequest));
}

/// An output that fails after some bytes, and counts its flushes.
#[derive(Default)]
struct Pipe {
    written: Arc<Mutex<Vec<String>>>,
    current: Vec<u8>,
    limit: Option<usize>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.limit.is_some_and(|limit| self.written.lock().unwrap().len() >= limit) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.current.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = String::from_utf8(std::mem::take(&mut self.current)).unwrap();
        self.written.lock().unwrap().push(flushed);
        Ok(())
    }
}

#[test]
fn each_block_is_flushed_before_the_next_one_is_made_and_the_body_is_dropped_once() {
    let mut pipe = Pipe::default();
    let (written, closed) = (pipe.written.clone(), Arc::new(Mutex::new(0)));
    let app = {
        let closed = closed.clone();
        move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
            start_response.start("200 OK", &[("Content-Type", "a/b")])?;
            let (written, closed) = (written.clone(), closed.clone());
            let blocks = (0..3).map(move |n| {
                assert_eq!(written.lock().unwrap().len(), if n == 0 { 0 } else { n + 1 });
                n.to_string().into_bytes()
            });
            Ok(Body::iter(blocks).on_close(move || *closed.lock().unwrap() += 1))
        }
    };
    run_on(&app, GET, "", &mut pipe).unwrap();
    let expected = ["Status: 200 OK\r\nContent-Type: a/b\r\n\r\n", "0", "1", "2"];
    assert_eq!(*pipe.written.lock().unwrap(), expected);
    assert_eq!(*closed.lock().unwrap(), 1);
}

#[test]
fn a_closed_output_is_an_error_of_the_output() {
    let app = |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        start_response.start("200 OK", &[("Content-Type", "a/b")])?;
        Ok(Body::iter((0..3).map(|n| vec![n])))
    };
    let error = run_on(&app, GET, "", &mut Pipe { limit: Some(2), ..Pipe::default() }).unwrap_err();
    assert!(matches!(error.kind(), CgiErrorKind::Output(_)), "{error}");
}
