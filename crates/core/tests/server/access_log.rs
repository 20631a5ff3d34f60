//! The access log: when an entry is written, and what its times are.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::*;
use amboss_core::{AccessRecord, Log};
use amboss_testkit::wait_for;

/// The path, the status, the duration, and the time that the request waited.
type Entry = (String, u16, Duration, Duration);

/// A log that keeps its access entries.
#[derive(Clone, Default)]
struct EntryLog(Arc<Mutex<Vec<Entry>>>);

impl Log for EntryLog {
    fn access(&self, record: &AccessRecord<'_>) {
        let path = String::from_utf8_lossy(record.target).into_owned();
        self.0.lock().unwrap().push((path, record.status, record.duration, record.waited));
    }

    fn error(&self, _: &str) {}
}

impl EntryLog {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    #[track_caller]
    fn wait_for(&self, path: &str) -> (u16, Duration, Duration) {
        wait_for("the entry is logged", || {
            let entries = self.0.lock().unwrap();
            entries.iter().find(|entry| entry.0 == path).map(|entry| (entry.1, entry.2, entry.3))
        })
    }
}

#[test]
fn an_entry_is_logged_when_the_response_is_sent() {
    for setup in [Setup::single(), Setup::threaded()] {
        let times = EntryLog::default();
        let log = times.clone();
        let server = setup.start_logging(stress_app, |_| Arc::new(log));
        let mut slow = server.connect();
        slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        // A part of the response has arrived; the rest does not fit into the buffers until the client reads.
        assert_eq!(slow.stream.peek(&mut [0]).unwrap(), 1);
        std::thread::sleep(100 * MS);
        assert_eq!(times.count(), 0);
        assert_eq!(slow.response().body.len(), 20_000_000);
        let (status, duration, waited) = times.wait_for("/large");
        assert!(status == 200 && duration >= 100 * MS && waited < duration, "{duration:?} {waited:?}");
    }
}

#[test]
fn the_duration_starts_with_the_complete_head_and_includes_the_body() {
    let times = EntryLog::default();
    let log = times.clone();
    let server = Setup::threaded().start_logging(stress_app, |_| Arc::new(log));
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
    std::thread::sleep(100 * MS);
    client.send("dy");
    assert_eq!(client.response().text(), "body");
    let (_, duration, waited) = times.wait_for("/echo");
    // The server may see the head a little later than it was sent.
    assert!(duration >= 50 * MS && waited.is_zero(), "{duration:?} {waited:?}");
}

#[test]
fn the_time_spent_waiting_for_a_thread_is_logged_separately() {
    let (gate, begun) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let app = blocking_app(&gate, &begun);
    let times = EntryLog::default();
    let log = times.clone();
    let server = Setup::threaded().with(|settings| settings.runtime.threads = 1).start_logging(app, |_| Arc::new(log));
    let mut running = server.connect();
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || begun.load(SeqCst) == 1);
    let mut waiting = server.connect();
    waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(waiting.is_silent_for(100 * MS));
    gate.release();
    assert_eq!(waiting.response().status, 200);
    assert_eq!(running.response().status, 200);
    let (_, duration, waited) = times.wait_for("/waiting");
    assert!(waited >= 90 * MS && duration >= waited, "{duration:?} {waited:?}");
    let (_, duration, waited) = times.wait_for("/gate");
    assert!(duration >= 90 * MS && waited.is_zero(), "{duration:?} {waited:?}");
}

#[test]
fn pipelined_responses_are_logged_in_order() {
    for setup in [Setup::single(), Setup::threaded()] {
        let times = EntryLog::default();
        let log = times.clone();
        let server = setup.start_logging(stress_app, |_| Arc::new(log));
        let mut client = server.connect();
        let requests: String = (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        client.send(requests + "garbage\r\n\r\n");
        for _ in 0..50 {
            assert_eq!(client.response().text(), "hello");
        }
        assert_eq!(client.response().status, 400);
        wait_until("all entries are logged", || times.count() == 51);
        let paths: Vec<String> = times.0.lock().unwrap().iter().map(|entry| entry.0.clone()).collect();
        let expected: Vec<String> = (0..50).map(|number| format!("/{number}")).chain([String::new()]).collect();
        assert_eq!(paths, expected);
    }
}

#[test]
fn a_refused_request_is_logged_with_its_head() {
    for setup in [Setup::single(), Setup::threaded()] {
        let times = EntryLog::default();
        let log = times.clone();
        let setup = setup.with(|settings| settings.limits.body = Some(1000));
        let server = setup.start_logging(stress_app, |_| Arc::new(log));
        for (path, rest, status) in [
            ("/expects", "Expect: more\r\n\r\n", 417),
            ("/large", "Content-Length: 1001\r\n\r\n", 413),
            ("/chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd", 400),
            ("/large-chunk", "Transfer-Encoding: chunked\r\n\r\nffff\r\na", 413),
            ("/types", "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n", 400),
        ] {
            let mut client = server.connect();
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{rest}"));
            assert_eq!(client.response().status, status, "{path}");
            assert_eq!(times.wait_for(path).0, status, "{path}");
        }
    }
}
