//! Requests that the application answers without waiting ([`Application::is_immediate`]): they take no slot.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

#[cfg(unix)]
use crate::server_process::{ServerProcess, IMMEDIATE};
use crate::support::*;
use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, PollerKind, Settings, StartResponse};

/// Middleware that answers `/file/…` itself: with bytes, with blocks, or with a file that has to be read first.
struct Files<A> {
    inner: A,
    folder: TempDir,
    /// Acquired by `/file/slow` and by the question whether `/lookup/…` is there, as if the disk were slow.
    disk: Semaphore,
    /// The number of times that the disk was used.
    slow: Arc<AtomicUsize>,
}

impl<A: Application> Application for Files<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.path().to_string_lossy().into_owned();
        let Some(name) = path.strip_prefix("/file/") else { return self.inner.call(environ, start_response) };
        start_response.start("200 OK", &[])?;
        if name == "slow" {
            self.slow.fetch_add(1, SeqCst);
            self.disk.acquire();
        }
        Ok(match name {
            "blocks" => Body::iter((0..200).map(|number| format!("{number}\n").into_bytes())),
            "large" => Body::file(std::fs::File::open(self.folder.join("large"))?),
            _ => Body::from("from a file"),
        })
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        if head.target().starts_with(b"/lookup/") {
            before_blocking();
            self.slow.fetch_add(1, SeqCst);
            self.disk.acquire();
            return head.target() == b"/lookup/there";
        }
        head.target().starts_with(b"/file/") || self.inner.is_immediate(head, before_blocking)
    }
}

/// Starts a server whose two slots are occupied by requests that run until `gate` is released.
fn busy(change: impl FnOnce(&mut Settings)) -> (TestServer, Semaphore, Semaphore, Arc<AtomicUsize>, Vec<Client>) {
    let (gate, disk, calls) = (Semaphore::default(), Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let slow = Arc::new(AtomicUsize::new(0));
    let folder = TempDir::new("immediate");
    folder.write("large", &"0123456789abcdef".repeat(200_000));
    let app = Files { inner: blocking_app(&gate, &calls), folder, disk: disk.clone(), slow: slow.clone() };
    let setup = Setup::threaded().with(|settings| settings.runtime.threads = 2).with(change);
    let server = setup.start(app);
    let running: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = server.connect();
            client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    wait_until("both requests run", || calls.load(SeqCst) == 2);
    (server, gate, disk, slow, running)
}

fn finish(gate: &Semaphore, running: Vec<Client>) {
    for _ in &running {
        gate.release();
    }
    for mut client in running {
        assert_eq!(client.response().status, 200);
    }
}

/// As many requests run at once as before, beside those that take no slot.
fn slots_are_whole(server: &TestServer, gate: &Semaphore) {
    let mut again: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut again {
        client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert_eq!(server.get("/file/small").text(), "from a file");
    finish(gate, again);
}

#[test]
fn requests_that_the_application_answers_at_once_do_not_wait_for_a_thread() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (server, gate, _, _, running) = busy(|settings| settings.runtime.poller = poller);
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/file/small").text(), "from a file");
        }
        assert_eq!(
            client.get("/file/blocks").text().lines().count(),
            200,
            "the blocks of such a response need no slot"
        );
        assert_eq!(client.get("/file/large").body.len(), 3_200_000);
        // Several in one segment, behind one another.
        client.send("GET /file/a HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
        for _ in 0..5 {
            assert_eq!(client.response().text(), "from a file");
        }
        let mut other = server.connect();
        other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(other.is_silent_for(100 * MS), "other requests wait for a slot");
        finish(&gate, running);
        assert_eq!(other.response().status, 200);
    }
}

#[test]
fn a_slow_disk_delays_no_other_request() {
    let (server, gate, disk, slow, running) = busy(|_| {});
    let mut waits = server.connect();
    waits.send("GET /file/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the slow file is read", || slow.load(SeqCst) == 1);
    assert_eq!(server.get("/file/small").text(), "from a file", "the loop has been handed over");
    disk.release();
    assert_eq!(waits.response().text(), "from a file");
    finish(&gate, running);
    assert_eq!(slow.load(SeqCst), 1);
    slots_are_whole(&server, &gate);
}

#[test]
fn several_slow_disks_delay_no_other_request() {
    let (server, gate, disk, slow, running) = busy(|_| {});
    let mut waiting = Vec::new();
    for number in 1..=4 {
        let mut client = server.connect();
        client.send("GET /file/slow HTTP/1.1\r\nHost: a\r\n\r\n");
        waiting.push(client);
        wait_until("the slow file is read", || slow.load(SeqCst) == number);
        assert_eq!(server.get("/file/small").text(), "from a file", "beside {number} slow reads");
    }
    for _ in &waiting {
        disk.release();
    }
    for mut client in waiting {
        assert_eq!(client.response().text(), "from a file");
    }
    finish(&gate, running);
}

#[test]
fn a_question_that_waits_for_a_disk_delays_no_other_request_and_is_asked_once() {
    let (server, gate, disk, questions, running) = busy(|_| {});
    let mut clients = ["there", "missing"].map(|name| {
        let mut client = server.connect();
        client.send(format!("GET /lookup/{name} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    });
    wait_until("both files are looked for", || questions.load(SeqCst) == 2);
    assert_eq!(server.get("/file/small").text(), "from a file", "the loop has been handed over");
    let [there, missing] = &mut clients;
    disk.release();
    disk.release();
    assert_eq!(there.response().status, 200);
    assert!(missing.is_silent_for(100 * MS), "a request for the application waits for a slot");
    finish(&gate, running);
    assert_eq!(missing.response().status, 200);
    assert_eq!(questions.load(SeqCst), 2);
    slots_are_whole(&server, &gate);
}

#[test]
fn with_one_slot_a_request_runs_after_its_question_has_waited() {
    let (disk, questions) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let inner = blocking_app(&Semaphore::default(), &Arc::new(AtomicUsize::new(0)));
    let app = Files { inner, folder: TempDir::new("question"), disk: disk.clone(), slow: questions.clone() };
    let server = Setup::threaded().with(|settings| settings.runtime.threads = 1).start(app);
    let mut client = server.connect();
    for number in 1..=3 {
        client.send("GET /lookup/missing HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the file is looked for", || questions.load(SeqCst) == number);
        assert_eq!(server.get("/file/small").text(), "from a file", "the loop has been handed over");
        disk.release();
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(questions.load(SeqCst), 3, "the question is not repeated");
}

/// The application may choose its code by the host, and a proxy may set another one than the head has.
#[test]
fn a_request_whose_host_a_proxy_may_set_waits_for_a_slot() {
    let (server, gate, _, _, running) = busy(|settings| settings.proxies.hops.x_host = 1);
    assert_eq!(server.get("/file/small").text(), "from a file");
    let mut client = server.connect().with_fields("X-Forwarded-Host: b\r\n");
    client.send_get("/file/small");
    assert!(client.is_silent_for(100 * MS));
    finish(&gate, running);
    assert_eq!(client.response().text(), "from a file");
}

#[cfg(unix)]
#[test]
fn the_forking_server_starts_no_process_for_them() {
    for role in ["forking", "forking poll"] {
        let server = ServerProcess::start(role);
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get(IMMEDIATE).text(), server.id().to_string(), "{role}");
            assert_ne!(client.get("/pid").text(), server.id().to_string(), "{role}");
        }
    }
}
