//! A server that is the guest of another event loop: here of a thread that polls it, with a thread for each task.

use std::fs::File;
use std::io;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::support::*;
use amboss_core::{
    make_server, Address, AppError, Application, Body, Concurrency, DetachedId, Environ, FailureResponse, Guest,
    PollerKind, ResponseFilter, Settings, ShutdownHandle, StartErrorKind, StartResponse, WriteProgress,
};

/// A request that has arrived.
struct Arrived {
    id: DetachedId,
    path: String,
}

/// An application that detaches every request except that for `/direct`.
struct Detaching {
    arrived: Sender<Arrived>,
    filters: fn() -> Vec<Box<dyn ResponseFilter>>,
}

impl Application for Detaching {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.path().to_string_lossy().into_owned();
        match &*path {
            "/direct" => {
                start_response.start("200 OK", &[])?;
                return Ok(Body::from("direct"));
            }
            "/fails" => {
                start_response.detach(Vec::new());
                return Err("failed after it was detached".into());
            }
            _ => {}
        }
        let id = start_response.detach((self.filters)()).ok_or("the server is no guest")?;
        let _ = self.arrived.send(Arrived { id, path });
        Ok(Body::empty())
    }
}

/// A guest, and the thread that polls it.
struct Host {
    guest: Arc<Guest>,
    /// Held by the thread that uses the guest: a real host uses it in one thread.
    turn: Arc<Mutex<()>>,
    arrived: Receiver<Arrived>,
    address: std::net::SocketAddr,
    resumed: Arc<Mutex<Vec<DetachedId>>>,
    handle: ShutdownHandle,
    thread: Option<JoinHandle<()>>,
    log: Arc<RecordingLog>,
}

fn host(change: impl FnOnce(&mut Settings)) -> Host {
    host_with(change, Vec::new)
}

fn host_with(change: impl FnOnce(&mut Settings), filters: fn() -> Vec<Box<dyn ResponseFilter>>) -> Host {
    let (sender, arrived) = channel();
    let log = Arc::new(RecordingLog::default());
    let mut settings = Settings::default();
    settings.log = log.clone();
    change(&mut settings);
    let app = Detaching { arrived: sender, filters };
    let server = make_server(&[Address::new("127.0.0.1", 0)], app, Concurrency::Guest, settings).unwrap();
    let address = server.local_addrs()[0].to_string().parse().unwrap();
    let guest = Arc::new(server.into_guest().unwrap());
    let resumed = Arc::new(Mutex::new(Vec::new()));
    let turn = Arc::new(Mutex::new(()));
    let (polled, found, polling) = (guest.clone(), resumed.clone(), turn.clone());
    let thread = thread::spawn(move || loop {
        let events = {
            let _turn = polling.lock().unwrap();
            polled.poll(|| false).unwrap()
        };
        found.lock().unwrap().extend(events.resumed);
        if events.is_over {
            return;
        }
        thread::sleep(events.timeout.unwrap_or(MS).min(MS));
    });
    Host { handle: guest.shutdown_handle(), guest, turn, arrived, address, resumed, thread: Some(thread), log }
}

/// The guest, while no other thread uses it.
struct Turn<'h>(&'h Guest, #[allow(dead_code, reason = "held until the call is over")] MutexGuard<'h, ()>);

impl std::ops::Deref for Turn<'_> {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        self.0
    }
}

impl Host {
    fn guest(&self) -> Turn<'_> {
        Turn(&self.guest, self.turn.lock().unwrap())
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Waits for the next request.
    fn next(&self) -> Arrived {
        self.arrived.recv_timeout(DEADLINE).expect("no request arrived")
    }

    fn wait_until_resumed(&self, id: DetachedId) {
        wait_until("the task is resumed", || {
            let mut resumed = self.resumed.lock().unwrap();
            let place = resumed.iter().position(|other| *other == id);
            place.map(|place| resumed.remove(place)).is_some()
        });
    }

    fn stop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

#[test]
fn a_task_answers_after_the_call_and_the_connection_stays_open() {
    let host = host(|_| {});
    let mut client = host.connect();
    for round in 0..3 {
        client.send_get("/a");
        let Arrived { id, path } = host.next();
        assert_eq!(path, "/a");
        host.guest().begin(id, "200 OK", &[("X-Round", round.to_string().as_bytes())], false).unwrap();
        host.guest().finish(id, b"hello", round == 1);
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "hello".to_owned()));
        assert_eq!(
            (response.field("Content-Length"), response.field("X-Round")),
            (Some("5"), Some(&*round.to_string()))
        );
    }
    assert_eq!(client.get("/direct").text(), "direct");
    let failed = client.get("/fails");
    assert_eq!(failed.status, 500);
    assert!(host.log.errors().contains("failed after it was detached"));
}

#[test]
fn blocks_are_chunked_and_each_leaves_at_once() {
    let host = host(|_| {});
    let mut client = host.connect();
    client.send_get("/");
    let Arrived { id, .. } = host.next();
    assert!(matches!(host.guest().write(id, b"x").unwrap_err().kind(), StartErrorKind::NotStarted));
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    assert!(matches!(host.guest().begin(id, "200 OK", &[], false).unwrap_err().kind(), StartErrorKind::Twice));
    host.guest().begin(id, "201 Created", &[], true).unwrap();
    assert_eq!(host.guest().write(id, b"").unwrap(), WriteProgress::Ready);
    assert!(client.is_silent_for(20 * MS), "the head waits for the first block");
    for block in ["one", "two"] {
        assert_eq!(host.guest().write(id, block.as_bytes()).unwrap(), WriteProgress::Ready);
        let received = String::from_utf8(client.until(block)).unwrap();
        assert!(received.contains("201 Created") == (block == "one"), "{received}");
    }
    assert!(matches!(host.guest().begin(id, "500 Late", &[], true).unwrap_err().kind(), StartErrorKind::HeadSent));
    host.guest().finish(id, b"", false);
    assert_eq!(client.until("0\r\n\r\n"), b"\r\n0\r\n\r\n");
}

#[test]
fn a_response_that_needs_no_more_says_so() {
    let host = host(|_| {});
    let mut client = host.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    assert_eq!(host.guest().write(id, b"body").unwrap(), WriteProgress::Complete);
    host.guest().finish(id, b"", false);
    assert_eq!(client.response_to_head().status, 200);
    client.send_get("/");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[("Content-Length", b"3")], false).unwrap();
    assert_eq!(host.guest().write(id, b"abcdef").unwrap(), WriteProgress::Complete);
    host.guest().finish(id, b"", false);
    assert_eq!(client.response().text(), "abc");
    // Too few bytes cut the connection.
    client.send_get("/");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[("Content-Length", b"3")], false).unwrap();
    host.guest().finish(id, b"a", false);
    assert!(client.try_response().is_err());
}

#[test]
fn a_slow_reader_suspends_only_its_task() {
    let host = host(|_| {});
    let mut slow = host.connect();
    slow.send_get("/");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[("Content-Length", b"40000000")], false).unwrap();
    let block = vec![b'x'; 100_000];
    let reader = thread::spawn(move || {
        thread::sleep(50 * MS);
        slow.response().body.len()
    });
    for _ in 0..400 {
        let progress = host.guest().write(id, &block).unwrap();
        if progress == WriteProgress::Full {
            assert_eq!(host.connect().get("/direct").text(), "direct");
            host.wait_until_resumed(id);
        }
    }
    host.guest().finish(id, b"", false);
    assert_eq!(reader.join().unwrap(), 40_000_000);
}

#[test]
fn a_file_is_sent_while_the_task_waits() {
    let dir = TempDir::new("guest");
    dir.write("file", &"0123456789".repeat(1_000_000));
    let host = host(|_| {});
    for path in ["file", "/proc/self/status"] {
        let mut client = host.connect();
        client.send_get("/");
        let Arrived { id, .. } = host.next();
        host.guest().begin(id, "200 OK", &[], false).unwrap();
        let file = File::open(dir.join(path)).unwrap();
        let sent = host.guest().send_file(id, file).unwrap();
        match sent {
            // A file of the system that reports no size is read in blocks instead.
            None => assert_eq!(path, "/proc/self/status"),
            Some(WriteProgress::Full) => {
                let reader = thread::spawn(move || client.response().body.len());
                host.wait_until_resumed(id);
                host.guest().finish(id, b"", false);
                assert_eq!(reader.join().unwrap(), 10_000_000);
                continue;
            }
            Some(other) => panic!("{other:?}"),
        }
        host.guest().finish(id, b"read", false);
        assert_eq!(client.response().text(), "read");
    }
}

#[test]
fn a_body_is_read_as_it_arrives_or_when_it_is_complete() {
    for streams in [false, true] {
        let host = host(|settings| {
            if streams {
                stream_bodies(settings);
            }
        });
        let mut client = host.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (mut body, mut buffer) = (Vec::new(), [0; 4]);
        let send_body = |client: &mut Client| client.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        if !streams {
            send_body(&mut client);
        }
        let Arrived { id, .. } = host.next();
        if streams {
            assert_eq!(host.guest().read(id, &mut buffer).unwrap(), None);
            send_body(&mut client);
            host.wait_until_resumed(id);
        }
        loop {
            let read = host.guest().read(id, &mut buffer).unwrap();
            match read {
                None => host.wait_until_resumed(id),
                Some(0) => break,
                Some(count) => body.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(body, b"hello world");
        host.guest().begin(id, "200 OK", &[], false).unwrap();
        host.guest().finish(id, b"read", false);
        assert_eq!(client.response().text(), "read");
        assert_eq!(client.get("/direct").text(), "direct", "the connection continues after the body");
    }
}

#[test]
fn a_body_that_is_not_read_is_drained() {
    let host = host(stream_bodies);
    let mut client = host.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    host.guest().finish(id, b"unread", false);
    assert_eq!(client.response().text(), "unread");
    client.send("llo");
    assert_eq!(client.get("/direct").text(), "direct");
}

#[test]
fn a_body_that_is_slow_or_ends_early_fails_the_read() {
    for ends in [false, true] {
        let host = host(|settings| {
            stream_bodies(settings);
            settings.timeouts.stalled = 50 * MS;
        });
        let mut client = host.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let Arrived { id, .. } = host.next();
        assert_eq!(host.guest().read(id, &mut [0; 9]).unwrap(), None);
        if ends {
            client.finish_sending();
        }
        host.wait_until_resumed(id);
        let error = host.guest().read(id, &mut [0; 9]).unwrap_err();
        let (kind, status) = if ends { (io::ErrorKind::UnexpectedEof, 400) } else { (io::ErrorKind::TimedOut, 408) };
        assert_eq!(error.kind(), kind);
        host.guest().fail(id, error.into());
        assert_eq!(client.response().status, status);
    }
}

#[test]
fn a_continue_is_sent_with_the_first_read() {
    let host = host(stream_bodies);
    let mut client = host.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    assert!(client.is_silent_for(20 * MS));
    assert_eq!(host.guest().read(id, &mut [0; 2]).unwrap(), None);
    assert!(String::from_utf8(client.until("\r\n\r\n")).unwrap().starts_with("HTTP/1.1 100 Continue"));
    client.send("ok");
    host.wait_until_resumed(id);
    assert_eq!(host.guest().read(id, &mut [0; 2]).unwrap(), Some(2));
    host.guest().early_hints(id, &[("Link", b"</a>")]).unwrap();
    assert!(String::from_utf8(client.until("\r\n\r\n")).unwrap().contains("103 Early Hints"));
    host.guest().finish(id, b"done", false);
    assert_eq!(client.response().text(), "done");
}

#[test]
fn requests_beyond_the_maximum_wait_for_a_task_to_end() {
    let host = host(|settings| settings.runtime.threads = 1);
    let (mut first, mut second) = (host.connect(), host.connect());
    first.send_get("/first");
    let running = host.next();
    second.send_get("/second");
    assert!(host.arrived.recv_timeout(50 * MS).is_err(), "the second request has to wait");
    host.guest().begin(running.id, "200 OK", &[], false).unwrap();
    host.guest().finish(running.id, b"1", false);
    assert_eq!(first.response().text(), "1");
    let next = host.next();
    assert_eq!(next.path, "/second");
    host.guest().begin(next.id, "200 OK", &[], false).unwrap();
    host.guest().finish(next.id, b"2", false);
    assert_eq!(second.response().text(), "2");
}

#[test]
fn a_pipelined_request_follows_the_task_of_the_one_before() {
    let host = host(|_| {});
    let mut client = host.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /direct HTTP/1.1\r\nHost: a\r\n\r\n");
    for expected in ["/1", "/2"] {
        let Arrived { id, path } = host.next();
        assert_eq!(path, expected);
        let mut body = [0; 9];
        let count = host.guest().read(id, &mut body).unwrap().unwrap();
        assert_eq!(&body[..count], if path == "/2" { &b"abc"[..] } else { b"" });
        host.guest().begin(id, "200 OK", &[], false).unwrap();
        host.guest().finish(id, path.as_bytes(), false);
    }
    assert_eq!([(); 3].map(|()| client.response().text()), ["/1", "/2", "direct"]);
}

#[test]
fn a_client_that_has_gone_fails_the_write_and_frees_the_connection() {
    let host = host(|_| {});
    let mut client = host.connect();
    client.send_get("/");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    let block = vec![b'x'; 100_000];
    while host.guest().write(id, &block).unwrap() != WriteProgress::Full {}
    drop(client);
    host.wait_until_resumed(id);
    let error = wait_until_some(|| host.guest().write(id, &block).err());
    assert!(matches!(error.kind(), StartErrorKind::Io(_)), "{error}");
    host.guest().finish(id, b"", false);
    wait_until("the connection is closed", || host.handle.open_connections() == 0);
}

/// Repeats a question until it has an answer.
fn wait_until_some<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let mut answer = None;
    wait_until("an answer", || {
        answer = ask();
        answer.is_some()
    });
    answer.unwrap()
}

#[test]
fn a_stop_waits_for_tasks_and_closes_idle_connections() {
    let mut host = host(|_| {});
    let (mut running, mut idle) = (host.connect(), host.connect());
    assert_eq!(idle.get("/direct").text(), "direct");
    running.send_get("/");
    let Arrived { id, .. } = host.next();
    host.handle.shutdown();
    assert!(idle.at_end());
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    host.guest().finish(id, b"last", false);
    assert_eq!(running.response().text(), "last");
    assert!(running.at_end());
    host.stop();
}

#[test]
fn a_stop_with_a_client_that_leaves_at_the_same_time_ends_at_once() {
    for _ in 0..5 {
        let mut host = host(|settings| settings.timeouts.shutdown = DEADLINE);
        let mut client = host.connect();
        assert_eq!(client.get("/direct").text(), "direct");
        drop(client);
        let began = std::time::Instant::now();
        host.stop();
        assert!(began.elapsed() < DEADLINE / 2);
    }
}

/// Appends a mark to responses, and answers failures.
struct Marking;

impl ResponseFilter for Marking {
    fn head(&mut self, fields: &[(&str, &[u8])]) -> Option<Vec<(String, Vec<u8>)>> {
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        fields.push(("X-Marked".to_owned(), b"yes".to_vec()));
        Some(fields)
    }

    fn end(&mut self) -> Vec<u8> {
        b" (marked)".to_vec()
    }
}

/// Answers failures with their text.
struct Explaining;

impl ResponseFilter for Explaining {
    fn failure(&mut self, error: &AppError) -> Option<FailureResponse> {
        let (status, body) = ("500 Explained".to_owned(), error.to_string().into_bytes());
        Some(FailureResponse { status, fields: Vec::new(), body })
    }
}

#[test]
fn filters_change_responses_and_explain_failures() {
    let host = host_with(|_| {}, || vec![Box::new(Explaining), Box::new(Marking)]);
    let mut client = host.connect();
    for fails in [false, true] {
        client.send_get("/");
        let Arrived { id, .. } = host.next();
        host.guest().begin(id, "200 OK", &[], false).unwrap();
        if fails {
            host.guest().fail(id, "broken".into());
        } else {
            host.guest().finish(id, b"whole", false);
        }
        let response = client.response();
        let expected = if fails { (500, "broken (marked)") } else { (200, "whole (marked)") };
        assert_eq!((response.status, &*response.text()), expected);
        assert_eq!(response.field("X-Marked"), Some("yes"));
    }
    assert!(host.log.errors().contains("broken"));
}

#[test]
fn a_failure_after_the_head_cuts_the_connection() {
    let host = host(|_| {});
    let mut client = host.connect();
    client.send_get("/");
    let Arrived { id, .. } = host.next();
    host.guest().begin(id, "200 OK", &[], false).unwrap();
    host.guest().write(id, b"part").unwrap();
    host.guest().fail(id, "broken".into());
    assert!(client.try_response().is_err());
}

#[test]
fn what_cannot_be_a_guest_is_refused() {
    let refused = |concurrency, change: fn(&mut Settings)| {
        let mut settings = settings_without_log();
        change(&mut settings);
        let server = make_server(&[Address::new("127.0.0.1", 0)], test_app, concurrency, settings).unwrap();
        server.into_guest().map(drop).unwrap_err().to_string()
    };
    assert!(refused(Concurrency::Threads, |_| {}).contains("Concurrency::Guest"));
    assert!(refused(Concurrency::Guest, |settings| settings.passthrough_errors = true).contains("passthrough_errors"));
    assert!(refused(Concurrency::Guest, |settings| settings.runtime.poller = PollerKind::Poll).contains("epoll"));
    let server = make_server(&[Address::new("127.0.0.1", 0)], test_app, Concurrency::Guest, settings_without_log());
    assert!(server.unwrap().serve_forever().unwrap_err().to_string().contains("into_guest"));
    // Elsewhere, an application can't detach a response.
    let (sender, _arrived) = channel();
    let server = Setup::threaded().start(Detaching { arrived: sender, filters: Vec::new });
    assert_eq!(server.get("/").status, 500);
}
