//! Requests that wait for a thread: their timeout, clients that leave meanwhile, stopping.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use crate::support::*;
use amboss_core::{AppError, Body, Environ, PollerKind, StartResponse};

/// Returns [`test_app`], except that `/gate` waits for the semaphore; `calls` counts all calls.
fn counting_app(
    gate: &Semaphore,
    calls: &Arc<AtomicUsize>,
) -> impl Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> {
    let (gate, calls) = (gate.clone(), calls.clone());
    move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        calls.fetch_add(1, SeqCst);
        if environ.path() == &b"/gate"[..] {
            gate.acquire();
        }
        test_app(environ, start_response)
    }
}

/// Starts a server with one thread, which `occupy` makes busy.
fn one_thread(change: impl FnOnce(&mut amboss_core::Settings)) -> (TestServer, Semaphore, Arc<AtomicUsize>) {
    let (gate, calls) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let setup = Setup::threaded().with(|settings| settings.runtime.threads = 1).with(change);
    (setup.start(counting_app(&gate, &calls)), gate, calls)
}

/// Sends a request that runs until the semaphore is released, and waits until it runs.
fn occupy(server: &TestServer, calls: &AtomicUsize) -> Client {
    let mut running = server.connect();
    let before = calls.load(SeqCst);
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || calls.load(SeqCst) > before);
    running
}

#[test]
fn a_request_that_waits_too_long_for_a_thread_gets_503() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (server, gate, calls) = one_thread(|settings| {
            settings.timeouts.queued = 200 * MS;
            settings.runtime.poller = poller;
        });
        let mut running = occupy(&server, &calls);
        let mut waiting = server.connect();
        waiting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        let response = waiting.response();
        assert_eq!((response.status, response.field("Connection")), (503, Some("close")));
        assert!(response.field("Retry-After").is_some());
        waiting.finish_sending();
        assert!(waiting.at_end() && !waiting.was_reset());
        gate.release();
        assert_eq!(running.response().text(), "hello");
        assert_eq!(server.get("/").text(), "hello");
        assert_eq!(calls.load(SeqCst), 2, "the application was called for a refused request");
    }
}

#[test]
fn a_request_that_waits_too_long_for_the_single_thread_gets_503() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (gate, calls) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
        let setup = Setup::single().with(|settings| {
            settings.timeouts.queued = 1000 * MS;
            settings.runtime.poller = poller;
        });
        let server = setup.start(blocking_app(&gate, &calls));
        let mut long = occupy(&server, &calls);
        let mut behind = server.connect();
        behind.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(behind.is_silent_for(150 * MS));
        let mut waiting = server.connect();
        waiting.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        gate.release();
        assert_eq!(long.response().text(), "hello");
        wait_until("the next request runs", || calls.load(SeqCst) == 2);
        assert!(waiting.is_silent_for(1200 * MS));
        gate.release();
        assert_eq!(behind.response().text(), "hello");
        let response = waiting.response();
        assert_eq!((response.status, response.field("Connection")), (503, Some("close")));
        assert!(response.field("Retry-After").is_some());
        assert_eq!(server.get("/").text(), "hello");
        assert_eq!(calls.load(SeqCst), 2, "the application was called for a refused request");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn in_a_single_threaded_server_waiting_begins_with_the_last_byte() {
    let (gate, calls) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let server =
        Setup::single().with(|settings| settings.timeouts.queued = 200 * MS).start(blocking_app(&gate, &calls));
    let mut long = occupy(&server, &calls);
    let mut waiting = server.connect();
    waiting.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(waiting.is_silent_for(400 * MS));
    gate.release();
    assert_eq!(long.response().text(), "hello");
    assert_eq!(waiting.response().status, 503);
    assert_eq!(server.get("/").text(), "hello");
    assert_eq!(calls.load(SeqCst), 1, "the application was called for a refused request");
}

#[cfg(target_os = "linux")]
#[test]
fn in_a_single_threaded_server_requests_of_gone_clients_do_not_run() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (gate, calls) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
        let server =
            Setup::single().with(|settings| settings.runtime.poller = poller).start(blocking_app(&gate, &calls));
        let mut gone = [server.connect(), server.connect()];
        for client in &mut gone {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            // Closing a connection with an unread response resets it.
            assert_eq!(client.stream.peek(&mut [0]).unwrap(), 1);
        }
        let [mut gone, mut early] = gone;
        let mut long = occupy(&server, &calls);
        early.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        drop(early);
        let [mut behind, mut half_closed] = [server.connect(), server.connect()];
        behind.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(behind.is_silent_for(150 * MS));
        gone.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        half_closed.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        half_closed.finish_sending();
        gate.release();
        assert_eq!(long.response().text(), "hello");
        wait_until("the next request runs", || calls.load(SeqCst) == 2);
        drop(gone);
        gate.release();
        gate.release();
        assert_eq!(behind.response().text(), "hello");
        assert_eq!(half_closed.response().text(), "hello");
        assert_eq!(server.get("/").text(), "hello");
        assert_eq!(calls.load(SeqCst), 3, "the application was called for a gone client");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_queued_request_of_a_gone_client_does_not_run() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (server, gate, calls) = one_thread(|settings| settings.runtime.poller = poller);
        let mut gone = server.connect();
        gone.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // Closing a connection with an unread response resets it.
        assert_eq!(gone.stream.peek(&mut [0]).unwrap(), 1);
        let mut running = occupy(&server, &calls);
        let mut half_closed = server.connect();
        half_closed.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        half_closed.finish_sending();
        gone.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut last = server.connect();
        last.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(last.is_silent_for(50 * MS));
        drop(gone);
        assert!(half_closed.is_silent_for(50 * MS));
        gate.release();
        assert_eq!(running.response().text(), "hello");
        assert_eq!(half_closed.response().text(), "hello");
        assert_eq!(last.response().text(), "hello");
        assert_eq!(calls.load(SeqCst), 4, "the application was called for a gone client");
    }
}

#[test]
fn a_queued_request_gets_503_at_the_shutdown_deadline() {
    let (server, gate, calls) = one_thread(|settings| settings.timeouts.shutdown = 300 * MS);
    let mut running = occupy(&server, &calls);
    let mut waiting = server.connect();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(waiting.is_silent_for(30 * MS));
    server.handle.shutdown();
    assert_eq!(waiting.response().status, 503, "refused at the deadline for running requests");
    gate.release();
    running.rest();
}
