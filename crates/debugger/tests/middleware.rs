//! `DebugPages`: which failures get a page, for whom, and what the server's log says. The application is called without
//! a socket, and behind a real server.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use amboss_core::{
    run_wsgi_app, AccessRecord, AppError, AppResponse, Application, Body, Environ, EnvironBuilder, Log, Peer,
    RunAppErrorKind, Settings, ShutdownHandle, StartResponse, ThreadedWsgiServer,
};
use amboss_debugger::{DebugPages, Page, Project};
use amboss_testkit::Client;
use serde_json::Value;

#[inline(never)]
fn forge(iron: Option<u32>) -> u32 {
    iron.expect("no iron")
}

/// An application that fails in the way that the path names.
fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.path().into_owned();
    match path.to_str()? {
        "/error" => Err(io::Error::other("x".parse::<u8>().unwrap_err()))?,
        "/string" => Err("<b>no anvil</b>")?,
        "/panic" => forge(None),
        "/late-error" | "/late-panic" => {
            start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
            start_response.write(b"begun")?;
            if path == "/late-panic" {
                forge(None);
            }
            Err("no anvil after the head")?
        }
        "/head-set" => {
            start_response.start("200 OK", &[("X-Anvil", "yes")])?;
            Err("no anvil")?
        }
        "/first-block" | "/first-block-panic" | "/second-block" => {
            start_response.start("200 OK", &[("X-Anvil", "yes")])?;
            let blocks = (0..2).map(move |number| match (&*path.to_string_lossy(), number) {
                ("/first-block-panic", _) => Ok(forge(None).to_string().into_bytes()),
                ("/second-block", 0) => Ok(b"begun".to_vec()),
                _ => Err("no anvil".into()),
            });
            return Ok(Body::try_iter(blocks));
        }
        "/body" => environ.input().read_to_end(&mut Vec::new())? as u32,
        _ => 0,
    };
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from("good"))
}

/// A log that keeps the errors.
#[derive(Default)]
struct Errors(Mutex<Vec<String>>);

impl Errors {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Log for Errors {
    fn access(&self, _: &AccessRecord<'_>) {}
    fn error(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

fn pages(log: &Arc<Errors>) -> DebugPages<impl Application> {
    DebugPages::new(app).project(Project::new(env!("CARGO_MANIFEST_DIR"))).page(Page::default()).log(log.clone())
}

/// Calls the middleware without a socket. `None` if the failure was passed on.
fn call(pages: &DebugPages<impl Application>, request: EnvironBuilder) -> Option<AppResponse> {
    match run_wsgi_app(pages, &mut request.build().unwrap().environ()) {
        Ok(response) => Some(response),
        Err(error) => {
            assert!(matches!(error.kind(), RunAppErrorKind::App(_)), "{error}");
            None
        }
    }
}

fn get(pages: &DebugPages<impl Application>, path: &str, accept: &str) -> (AppResponse, String) {
    let response = call(pages, EnvironBuilder::new(path).field("Accept", accept)).unwrap();
    let body = String::from_utf8(response.body.clone()).unwrap();
    (response, body)
}

#[test]
fn an_error_gets_a_page_in_the_format_that_the_client_accepts() {
    let log = Arc::new(Errors::default());
    let pages = pages(&log);
    let cases = [
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8", "<h1>invalid digit found in string</h1>"),
        ("*/*", "text/plain; charset=utf-8", "io::Error: invalid digit found in string\n"),
        ("application/json", "application/json", "\"kind\": \"io::Error\""),
    ];
    for (accept, content_type, part) in cases {
        let (response, body) = get(&pages, "/error?token=hunter2", accept);
        assert_eq!((response.status, response.header("Content-Type")), (500, Some(content_type.as_bytes())));
        assert_eq!(response.header("Cache-Control"), Some(&b"no-store"[..]));
        assert!(body.contains(part) && !body.contains("hunter2"), "{accept}: {body}");
        assert_eq!(log.take(), ["error on \"GET /error?token=hunter2 HTTP/1.1\": invalid digit found in string"]);
    }
    let (_, body) = get(&pages, "/string", "text/html");
    assert!(body.contains("<h1>&lt;b&gt;no anvil&lt;/b&gt;</h1>"), "{body}");
}

#[test]
fn a_panic_gets_a_page_with_the_frames_of_the_application_alone() {
    let log = Arc::new(Errors::default());
    let (response, body) = get(&pages(&log), "/panic", "application/json");
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((response.status, &report["kind"], &report["message"]), (500, &"panic".into(), &"no iron".into()));
    let frames = report["causes"][0]["frames"].as_array().unwrap();
    let functions: Vec<&str> = frames.iter().map(|frame| frame["function"].as_str().unwrap()).collect();
    assert_eq!(functions, ["middleware::forge", "middleware::app"], "{body}");
    assert!(frames.iter().all(|frame| frame["is_project"] == true), "{body}");
    assert!(frames[0]["file"].as_str().unwrap().ends_with("tests/middleware.rs"), "{body}");
    assert_eq!(frames[0]["source"].as_array().unwrap().len(), 5);
    assert_eq!(frames[0]["source"][2]["text"], "    iron.expect(\"no iron\")");
    let [message] = &log.take()[..] else { panic!("logged once") };
    assert!(
        message.starts_with("error on \"GET /panic HTTP/1.1\": panic in the application: panicked at "),
        "{message}"
    );
    assert!(message.contains("middleware::forge"), "with the backtrace: {message}");
}

#[test]
fn a_head_that_has_been_set_is_replaced_and_one_that_has_been_sent_is_not() {
    let log = Arc::new(Errors::default());
    let pages = pages(&log);
    let (response, _) = get(&pages, "/head-set", "*/*");
    assert_eq!((response.status, response.header("X-Anvil")), (500, None));
    log.take();
    for path in ["/late-error", "/late-panic"] {
        assert_eq!(call(&pages, EnvironBuilder::new(path)), None, "{path}");
        assert_eq!(log.take(), [""; 0], "{path}: the server logs what it is passed");
    }
}

#[test]
fn other_machines_get_no_page() {
    let log = Arc::new(Errors::default());
    let from = |address: &str| Peer::Tcp(SocketAddr::new(address.parse().unwrap(), 1));
    let request = || EnvironBuilder::new("/error");
    let cases = [
        (request(), true),
        (request().peer(from("::1")), true),
        (request().peer(from("::ffff:127.0.0.1")), true),
        (request().peer(Peer::Local), true),
        (request().field("X-Forwarded-For", "127.0.0.1, ::1"), true),
        (request().peer(from("192.168.1.7")), false),
        (request().peer(from("::ffff:192.168.1.7")), false),
        (request().peer(from("192.168.1.7")).field("X-Forwarded-For", "127.0.0.1"), false),
        (request().field("X-Forwarded-For", "203.0.113.9, 127.0.0.1"), false),
        (request().field("X-Real-IP", "203.0.113.9"), false),
        (request().field("Forwarded", "for=127.0.0.1"), false),
        (request().set("REMOTE_ADDR", "203.0.113.9"), false),
        (request().set("REMOTE_ADDR", ""), false),
    ];
    for (number, (request, gets_page)) in cases.into_iter().enumerate() {
        assert_eq!(call(&pages(&log), request).is_some(), gets_page, "case {number}");
    }
    let anyone = pages(&log).allow_remote(true);
    assert!(call(&anyone, request().peer(from("192.168.1.7"))).is_some());
    assert_eq!(get(&pages(&log), "/good", "text/html").1, "good");
}

#[test]
fn a_page_lets_the_script_of_a_live_reload_in() {
    let pages = pages(&Arc::default());
    let policy = |request: EnvironBuilder| {
        let response = call(&pages, request.field("Accept", "text/html")).unwrap();
        String::from_utf8_lossy(response.header("Content-Security-Policy").unwrap()).contains("'self'")
    };
    assert!(policy(EnvironBuilder::new("/error").set("amboss.live", "x")));
    assert!(!policy(EnvironBuilder::new("/error")));
}

/// A server in this process. Dropping the value stops it.
struct TestServer {
    port: u16,
    log: Arc<Errors>,
    handle: ShutdownHandle,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    /// `debug`: whether the application has pages.
    fn start(debug: bool) -> TestServer {
        let log = Arc::new(Errors::default());
        let app: Arc<dyn Application> = if debug { Arc::new(pages(&log)) } else { Arc::new(app) };
        let mut settings = Settings::default();
        settings.log = log.clone();
        settings.limits.body = Some(10);
        settings.body_mode = amboss_core::BodyMode::Stream;
        let mut server = ThreadedWsgiServer::with_settings("127.0.0.1:0", app, settings).unwrap();
        let port = server.local_addrs()[0].to_string().rsplit(':').next().unwrap().parse().unwrap();
        let handle = server.shutdown_handle();
        let thread = Some(std::thread::spawn(move || server.serve_forever().unwrap()));
        TestServer { port, log, handle, thread }
    }

    fn client(&self) -> Client {
        Client::connect(("127.0.0.1", self.port)).with_fields("Accept: text/html\r\n")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first lines of entries, without what differs from run to run.
fn first_lines(entries: &[String]) -> Vec<&str> {
    entries.iter().map(|entry| entry.lines().next().unwrap_or_default()).collect()
}

#[test]
fn the_log_of_a_server_is_the_same_with_pages() {
    let (with, without) = (TestServer::start(true), TestServer::start(false));
    for path in ["/error", "/panic", "/head-set"] {
        let (page, plain) = (with.client().get(path), without.client().get(path));
        assert_eq!((page.status, plain.status), (500, 500), "{path}");
        assert!(page.text().contains("<h1>") && page.field("Content-Security-Policy").is_some(), "{path}");
        let (page_log, plain_log) = (with.log.take(), without.log.take());
        assert_eq!((page_log.len(), first_lines(&page_log)), (1, first_lines(&plain_log)), "{path}");
        let has_backtrace = |log: &[String]| log[0].contains("middleware::forge");
        assert_eq!(has_backtrace(&page_log), has_backtrace(&plain_log), "{path}");
    }
    let mut client = with.client();
    assert_eq!((client.get("/panic").status, client.get("/good").text()), (500, "good".to_owned()), "one connection");
}

#[test]
fn a_failure_after_the_head_cuts_the_connection_and_is_logged_once() {
    let server = TestServer::start(true);
    for path in ["/late-error", "/late-panic"] {
        let response = server.client().get(path);
        assert_eq!((response.status, response.complete), (200, false), "{path}");
        let log = server.log.take();
        let failures = log.iter().filter(|entry| entry.starts_with("error on ")).collect::<Vec<_>>();
        assert_eq!(failures.len(), 1, "{path}: {log:?}");
        assert_eq!(failures[0].contains("middleware::forge"), path == "/late-panic", "{failures:?}");
    }
}

#[test]
fn a_body_that_is_too_large_keeps_its_status() {
    let server = TestServer::start(true);
    let mut client = server.client();
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n");
    client.send("x".repeat(255));
    let response = client.response();
    assert_eq!(response.status, 413, "{}", response.text());
}

#[test]
fn the_first_block_of_a_response_can_still_become_a_page() {
    let log = Arc::new(Errors::default());
    let pages = pages(&log);
    for (path, message) in [("/first-block", "no anvil"), ("/first-block-panic", "no iron")] {
        let (response, body) = get(&pages, path, "application/json");
        assert_eq!((response.status, response.header("X-Anvil")), (500, None), "{path}");
        assert!(body.contains(message), "{path}: {body}");
    }
    assert!(call(&pages, EnvironBuilder::new("/second-block")).is_none(), "a response that has begun is aborted");
}
