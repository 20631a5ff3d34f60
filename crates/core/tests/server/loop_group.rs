//! Several event loops in one server: connections are distributed, limits hold for all loops together, and a stop loses
//! no response.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::support::*;
use amboss_core::{AppError, Application, Body, Environ, PollerKind, StartResponse};

/// Returns the setup of a server with four loops, however many processors the machine has.
fn with_four_loops(poller: PollerKind) -> Setup {
    Setup::threaded().with(|settings| {
        settings.runtime.loops = 4;
        settings.runtime.poller = poller;
    })
}

/// Records the threads that called it and the maximum of concurrent calls. `/sleep` takes 20 ms.
#[derive(Default)]
struct CountingApp {
    threads: Mutex<HashSet<ThreadId>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Application for CountingApp {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        self.threads.lock().unwrap().insert(thread::current().id());
        if environ.path() == &b"/sleep"[..] {
            thread::sleep(Duration::from_millis(20));
        }
        self.running.fetch_sub(1, SeqCst);
        start_response.start("200 OK", &[])?;
        Ok(Body::from("hello"))
    }
}

#[test]
fn connections_are_distributed_among_the_loops() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let app = Arc::new(CountingApp::default());
        let server = with_four_loops(poller).start(app.clone());
        let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
        wait_until("four threads run event loops", || {
            // Loops that started later get earlier connections as these become idle.
            app.threads.lock().unwrap().clear();
            for client in &mut clients {
                assert_eq!(client.get("/").text(), "hello");
            }
            app.threads.lock().unwrap().len() >= 4
        });
    }
}

#[test]
fn the_number_of_threads_limits_the_running_requests_of_all_loops() {
    let app = Arc::new(CountingApp::default());
    let server = with_four_loops(PollerKind::Auto).with(|settings| settings.runtime.threads = 12).start(app.clone());
    let address = server.addr();
    let clients = (0..40).map(|_| {
        thread::spawn(move || {
            let mut client = Client::connect(address);
            for _ in 0..10 {
                assert_eq!(client.get("/sleep").text(), "hello");
            }
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    let most = app.most.load(SeqCst);
    assert!((6..=12).contains(&most), "{most} ran at once");
}

#[test]
fn as_many_requests_run_as_there_are_threads_with_any_number_of_loops() {
    let (gate, inside) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let app = blocking_app(&gate, &inside);
    let server = with_four_loops(PollerKind::Auto).with(|settings| settings.runtime.threads = 4).start(app);
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    // All four loops have connections now.
    for client in clients.iter_mut().chain([&mut server.connect()]) {
        assert_eq!(client.get("/").text(), "hello");
    }
    for client in &mut clients {
        client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for done in 0..10 {
        let (expected, count) = (4 * (done + 1), || inside.load(SeqCst));
        poll_until(DEADLINE, || (count() >= expected).then_some(()), || format!("with {} of {expected}", count()));
        assert!(clients[0].is_silent_for(Duration::from_millis(5)) || done > 0);
        assert_eq!(inside.load(SeqCst), 4 * (done + 1), "more than four requests run at once");
        (0..4).for_each(|_| gate.release());
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "hello"));
}

#[test]
fn the_connection_limit_holds_for_all_loops_together() {
    let server = with_four_loops(PollerKind::Auto).with(|settings| settings.limits.connections = 12).start(test_app);
    let mut clients: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "hello"));
    let mut more: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    more.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    // Loops that accept at the same time may each take one connection too many.
    let answered =
        more.iter_mut().filter_map(|client| (!client.is_silent_for(Duration::from_millis(50))).then_some(()));
    assert!(answered.count() <= 3);
    drop(clients);
    more.iter_mut().for_each(|client| assert_eq!(client.response().text(), "hello"));
}

#[test]
fn stopping_under_load_loses_no_response() {
    for _ in 0..5 {
        let app = Arc::new(CountingApp::default());
        let server = with_four_loops(PollerKind::Auto).start(app.clone());
        let (address, over) = (server.addr(), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..16)
            .map(|index| {
                let over = over.clone();
                // Connect before the thread starts: it may start after the server has stopped listening.
                let mut client = Client::connect(address);
                thread::spawn(move || {
                    let path = if index % 4 == 0 { "/sleep" } else { "/" };
                    while !over.load(SeqCst) {
                        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                        let all = client.until_end_or("hello");
                        // The connection is closed between two requests or the response is whole.
                        assert!(all.is_empty() || all.ends_with(b"hello"), "{}", all.escape_ascii());
                        if all.is_empty() {
                            return;
                        }
                    }
                })
            })
            .collect();
        wait_until("there is load", || app.threads.lock().unwrap().len() >= 2);
        server.stop();
        over.store(true, SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
    }
}
