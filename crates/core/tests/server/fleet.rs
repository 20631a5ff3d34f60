//! Several loops in one server: connections are shared out, bounds hold for all of them together, and a stop loses
//! nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::support::*;
use amboss_core::{AppError, Application, Body, Environ, PollerKind, StartResponse};

/// Four loops, whatever the machine has.
fn four(poller: PollerKind) -> Setup {
    Setup::threaded().with(|settings| {
        settings.runtime.loops = 4;
        settings.runtime.poller = poller;
    })
}

/// Notes who ran it, and how many did at once. `/sleep` takes 20 ms.
#[derive(Default)]
struct Noting {
    threads: Mutex<HashSet<ThreadId>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Application for Noting {
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
fn connections_are_shared_out_among_the_loops() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let app = Arc::new(Noting::default());
        let server = four(poller).start(app.clone());
        let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
        eventually("four threads lead", || {
            // Loops that came later get connections that were there before, as those become idle.
            app.threads.lock().unwrap().clear();
            for client in &mut clients {
                assert_eq!(client.get("/").text(), "hello");
            }
            app.threads.lock().unwrap().len() >= 4
        });
    }
}

#[test]
fn never_more_requests_run_in_all_loops_than_there_may_be_threads() {
    let app = Arc::new(Noting::default());
    let server = four(PollerKind::Auto).with(|settings| settings.runtime.threads = 12).start(app.clone());
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
fn as_many_requests_run_as_there_may_be_threads_however_many_loops_there_are() {
    let (gate, inside) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let app = gated(&gate, &inside);
    let server = four(PollerKind::Auto).with(|settings| settings.runtime.threads = 4).start(app);
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    // All four loops have their share of the connections.
    for client in clients.iter_mut().chain([&mut server.connect()]) {
        assert_eq!(client.get("/").text(), "hello");
    }
    for client in &mut clients {
        client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for done in 0..10 {
        eventually("four run at once", || inside.load(SeqCst) == 4 * (done + 1));
        assert!(clients[0].is_silent_for(Duration::from_millis(5)) || done > 0);
        assert_eq!(inside.load(SeqCst), 4 * (done + 1), "more than four run at once");
        (0..4).for_each(|_| gate.open());
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "hello"));
}

#[test]
fn the_bound_on_connections_is_one_for_all_loops() {
    let server = four(PollerKind::Auto).with(|settings| settings.limits.connections = 12).start(fixture);
    let mut clients: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "hello"));
    let mut more: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    more.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    // A loop may take one more than it should while another does the same.
    let answered =
        more.iter_mut().filter_map(|client| (!client.is_silent_for(Duration::from_millis(50))).then_some(()));
    assert!(answered.count() <= 3);
    drop(clients);
    more.iter_mut().for_each(|client| assert_eq!(client.response().text(), "hello"));
}

#[test]
fn a_stop_under_load_loses_no_answer() {
    for _ in 0..5 {
        let app = Arc::new(Noting::default());
        let server = four(PollerKind::Auto).start(app.clone());
        let (address, over) = (server.addr(), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..16)
            .map(|index| {
                let over = over.clone();
                // Not in the thread, which may come late, when nobody listens any more.
                let mut client = Client::connect(address);
                thread::spawn(move || {
                    let path = if index % 4 == 0 { "/sleep" } else { "/" };
                    while !over.load(SeqCst) {
                        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                        let all = client.until_end_or("hello");
                        // Closed between two requests, or answered in full.
                        assert!(all.is_empty() || all.ends_with(b"hello"), "{}", all.escape_ascii());
                        if all.is_empty() {
                            return;
                        }
                    }
                })
            })
            .collect();
        eventually("there is load", || app.threads.lock().unwrap().len() >= 2);
        server.stop();
        over.store(true, SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
    }
}
