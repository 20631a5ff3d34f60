//! Connections that move from a stopping server to its successor: no request is refused, reset or lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::*;
use amboss_core::{
    make_server_on, Address, AppError, Application, Body, Concurrency, Environ, Listeners, NoLog, Receiver, ServeError,
    Settings, ShutdownHandle, StartResponse,
};

/// Responds with its generation and the body; `/slow` takes 300 ms and is counted.
struct Generation(usize, Arc<AtomicUsize>);

impl Application for Generation {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        if environ.path() == &b"/slow"[..] {
            self.1.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(300));
        }
        let mut body = Vec::new();
        std::io::Read::read_to_end(environ.input(), &mut body)?;
        start_response.start("200 OK", &[])?;
        Ok(Body::from(format!("{} {}", self.0, String::from_utf8_lossy(&body))))
    }
}

struct RunningServer {
    handle: ShutdownHandle,
    receiver: Receiver,
    /// The number of calls of `/slow` that have begun.
    slow: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(), ServeError>>,
}

fn serve(listeners: &Listeners, concurrency: Concurrency, generation: usize) -> RunningServer {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    settings.runtime.loops = 3;
    let slow = Arc::new(AtomicUsize::new(0));
    let app = Generation(generation, slow.clone());
    let mut server = make_server_on(listeners.clone(), app, concurrency, settings).unwrap();
    let (handle, receiver) = (server.shutdown_handle(), server.receiver());
    RunningServer { handle, receiver, slow, thread: thread::spawn(move || server.serve_forever()) }
}

impl RunningServer {
    fn hand_over_to(&self, next: &RunningServer) {
        let receiver = next.receiver.clone();
        self.handle.hand_over(move |waiting| receiver.adopt(waiting).unwrap());
    }

    fn join(self) {
        wait_until("the old server has stopped", || self.thread.is_finished());
        self.thread.join().unwrap().unwrap();
    }
}

fn listen() -> (Listeners, std::net::SocketAddr) {
    let listeners = Listeners::bind(&[Address::new("127.0.0.1", 0)], &Settings::default()).unwrap();
    let address = listeners.local_addrs()[0].to_string().parse().unwrap();
    (listeners, address)
}

#[test]
fn idle_connections_and_partial_requests_move_to_the_successor() {
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        let (listeners, address) = listen();
        let old = serve(&listeners, concurrency, 1);
        let mut idle = Client::connect(address);
        assert_eq!(idle.get("/").text(), "1 ");
        let mut half = Client::connect(address);
        half.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
        let mut running = Client::connect(address);
        running.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the request runs", || old.slow.load(SeqCst) == 1);
        let new = serve(&listeners, concurrency, 2);
        old.hand_over_to(&new);
        half.send("dy");
        let response = half.response().text();
        // The rest may arrive before the old server notices that it is to stop.
        assert!(response == "2 body" || response == "1 body", "{response}");
        wait_until("the idle connection has moved", || idle.get("/").text() == "2 ");
        let response = running.response();
        assert_eq!(
            (response.text().as_str(), response.field("Connection")),
            ("1 ", None),
            "the old server finishes a running request"
        );
        wait_until("the connection of the running request has moved", || running.get("/").text() == "2 ");
        old.join();
        assert_eq!(Client::connect(address).get("/").text(), "2 ");
        new.handle.shutdown();
        new.join();
        drop(listeners);
        // A process that another test starts holds copies of all descriptors until it calls exec.
        wait_until("connections are refused", || std::net::TcpStream::connect(address).is_err());
    }
}

#[test]
fn ten_servers_in_a_row_under_load_lose_no_request() {
    let (listeners, address) = listen();
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..12)
        .map(|index| {
            let (over, answered) = (over.clone(), answered.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut newest = 0;
                while !over.load(SeqCst) {
                    // Some clients keep their connection, some open one for each request.
                    if index % 3 == 0 {
                        client = Client::connect(address);
                    }
                    let response = client.get(if index == 1 { "/slow" } else { "/" });
                    let generation = response.text().trim().parse().unwrap();
                    assert!(response.complete && response.field("Connection").is_none());
                    assert!(
                        index % 3 == 0 || generation >= newest,
                        "a kept connection never returns to an older server"
                    );
                    newest = generation;
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let mut serving = serve(&listeners, Concurrency::Threads, 0);
    for generation in 1..=10 {
        let before = answered.load(SeqCst);
        wait_until("requests are answered", || answered.load(SeqCst) > before + 100);
        let next = serve(&listeners, Concurrency::Threads, generation);
        serving.hand_over_to(&next);
        std::mem::replace(&mut serving, next).join();
    }
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    serving.handle.shutdown();
    serving.join();
}

/// An application that keeps a handle to the client of each request.
#[derive(Clone, Default)]
struct ClientKeeper(Arc<Mutex<Vec<amboss_core::Client>>>);

impl Application for ClientKeeper {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.0.lock().unwrap().push(environ.client());
        start_response.start("200 OK", &[])?;
        Ok(Body::from("kept"))
    }
}

#[test]
fn a_connection_is_handed_over_while_the_application_checks_its_client() {
    let (listeners, address) = listen();
    let serve = |app: ClientKeeper| {
        let mut server = make_server_on(listeners.clone(), app, Concurrency::Threads, settings_without_log()).unwrap();
        let (handle, receiver) = (server.shutdown_handle(), server.receiver());
        RunningServer { handle, receiver, slow: Arc::default(), thread: thread::spawn(move || server.serve_forever()) }
    };
    let mut serving = serve(ClientKeeper::default());
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    for _ in 0..10 {
        let app = ClientKeeper::default();
        let next = serve(app.clone());
        // All connections move to the new server. Then they move to the next one, while threads of the application
        // check their clients without a pause.
        serving.hand_over_to(&next);
        std::mem::replace(&mut serving, next).join();
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "kept"));
        let over = Arc::new(AtomicBool::new(false));
        let checking: Vec<_> = (0..4)
            .map(|_| {
                let (over, kept) = (over.clone(), app.0.lock().unwrap().clone());
                thread::spawn(move || {
                    while !over.load(SeqCst) {
                        assert_eq!(kept.len(), 20);
                        for client in &kept {
                            let _ = client.has_left();
                        }
                    }
                })
            })
            .collect();
        let last = serve(ClientKeeper::default());
        serving.hand_over_to(&last);
        std::mem::replace(&mut serving, last).join();
        over.store(true, SeqCst);
        checking.into_iter().for_each(|thread| thread.join().unwrap());
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "kept"));
    }
    serving.handle.shutdown();
    serving.join();
}

#[test]
fn a_stopped_server_refuses_to_adopt_connections() {
    let (listeners, address) = listen();
    let old = serve(&listeners, Concurrency::Threads, 1);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "1 ");
    let gone = serve(&listeners, Concurrency::Threads, 2);
    let receiver = gone.receiver.clone();
    gone.handle.shutdown();
    gone.join();
    let (refused, refusals) = std::sync::mpsc::channel();
    old.handle.hand_over(move |waiting| refused.send(receiver.adopt(waiting).is_err()).unwrap());
    assert!(refusals.recv_timeout(DEADLINE).unwrap());
    assert!(client.at_end());
    old.join();
}

#[test]
fn queued_requests_move_to_the_successor_with_their_bodies() {
    let (listeners, address) = listen();
    let (gate, begun) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let server = |generation: usize| {
        let (gate, begun) = (gate.clone(), begun.clone());
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            if environ.path() == &b"/gate"[..] {
                begun.fetch_add(1, SeqCst);
                gate.acquire();
            }
            let mut body = Vec::new();
            std::io::Read::read_to_end(environ.input(), &mut body)?;
            let length = environ.text("CONTENT_LENGTH").into_owned();
            start_response.start("200 OK", &[])?;
            let sum: usize = body.iter().map(|&byte| usize::from(byte)).sum();
            Ok(Body::from(format!("{generation} {length} {} {sum}", body.len())))
        };
        let mut settings = settings_without_log();
        settings.runtime.threads = 1;
        settings.limits.body_memory = 10_000;
        let mut server = make_server_on(listeners.clone(), app, Concurrency::Threads, settings).unwrap();
        let (handle, receiver) = (server.shutdown_handle(), server.receiver());
        (handle, receiver, thread::spawn(move || server.serve_forever()))
    };
    let (old, _, old_thread) = server(1);
    let mut running = Client::connect(address);
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || begun.load(SeqCst) == 1);

    let mut waiting = Vec::new();
    for (length, chunked) in [(0, false), (4, false), (4, true), (9000, true), (100_000, false), (100_000, true)] {
        let mut client = Client::connect(address);
        let framing = match (length, chunked) {
            (0, _) => String::new(),
            (_, true) => "Transfer-Encoding: chunked\r\n".into(),
            (_, false) => format!("Content-Length: {length}\r\n"),
        };
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n"));
        let body = vec![b'x'; length];
        if chunked {
            client.send(format!("{length:x}\r\n"));
            client.send(&body);
            client.send("\r\n0\r\n\r\n");
        } else {
            client.send(&body);
        }
        // Send another request right behind the body.
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        waiting.push((length, client));
    }
    for (_, client) in &mut waiting {
        assert!(client.is_silent_for(30 * MS));
    }
    let (new, receiver, new_thread) = server(2);
    old.hand_over(move |waiting| receiver.adopt(waiting).unwrap());
    for (length, client) in &mut waiting {
        let length = *length;
        let text = if length == 0 { String::new() } else { length.to_string() };
        let expected = format!("2 {text} {length} {}", length * usize::from(b'x'));
        assert_eq!(client.response().text(), expected);
        assert_eq!(client.response().text(), "2  0 0");
    }
    assert_eq!(begun.load(SeqCst), 1, "a request that has begun does not run again");
    gate.release();
    assert_eq!(running.response().text(), "1  0 0");
    for (handle, thread) in [(old, old_thread), (new, new_thread)] {
        handle.shutdown();
        wait_until("the server has stopped", || thread.is_finished());
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn queued_requests_that_cannot_move_are_refused_with_503() {
    let (gate, begun) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let app = blocking_app(&gate, &begun);
    let masking = MaskingLayer::default();
    let setup = Setup::threaded().with(|settings| {
        settings.runtime.threads = 1;
        settings.transport = Some(Arc::new(masking));
    });
    let server = setup.start(app);
    let connect = || connect_masked(server.addr());
    let mut running = connect();
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || begun.load(SeqCst) == 1);
    let mut waiting = connect();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut later = connect();
    server.handle.hand_over(|_| panic!("a connection in a layer was handed over"));
    server.handle.refuse_waiting(DEADLINE);
    later.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for client in [&mut waiting, &mut later] {
        let response = client.response();
        assert_eq!((response.status, response.field("Connection")), (503, Some("close")));
    }
    gate.release();
    assert_eq!(running.response().status, 200);
}
