//! Connections that move from a server that stops to one that runs: nothing is refused, reset or lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::*;
use amboss_core::{
    make_server_on, Address, AppError, Application, Body, Concurrency, Environ, Listeners, NoLog, Receiver, ServeError,
    Settings, ShutdownHandle, StartResponse,
};

/// Says which generation answers; `/slow` takes 300 ms, and is counted.
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

struct Serving {
    handle: ShutdownHandle,
    receiver: Receiver,
    /// Slow requests that the application has begun.
    slow: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(), ServeError>>,
}

fn serve(listeners: &Listeners, concurrency: Concurrency, generation: usize) -> Serving {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    settings.runtime.loops = 3;
    let slow = Arc::new(AtomicUsize::new(0));
    let app = Generation(generation, slow.clone());
    let mut server = make_server_on(listeners.clone(), app, concurrency, settings).unwrap();
    let (handle, receiver) = (server.shutdown_handle(), server.receiver());
    Serving { handle, receiver, slow, thread: thread::spawn(move || server.serve_forever()) }
}

impl Serving {
    fn hand_over_to(&self, next: &Serving) {
        let receiver = next.receiver.clone();
        self.handle.hand_over(move |waiting| receiver.adopt(waiting).unwrap());
    }

    fn join(self) {
        eventually("the old server ends", || self.thread.is_finished());
        self.thread.join().unwrap().unwrap();
    }
}

fn listen() -> (Listeners, std::net::SocketAddr) {
    let listeners = Listeners::bind(&[Address::new("127.0.0.1", 0)], &Settings::default()).unwrap();
    let address = listeners.local_addrs()[0].to_string().parse().unwrap();
    (listeners, address)
}

#[test]
fn idle_running_and_half_sent_requests_go_on() {
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        let (listeners, address) = listen();
        let old = serve(&listeners, concurrency, 1);
        let mut idle = Client::connect(address);
        assert_eq!(idle.get("/").text(), "1 ");
        let mut half = Client::connect(address);
        half.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
        let mut running = Client::connect(address);
        running.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it runs", || old.slow.load(SeqCst) == 1);
        let new = serve(&listeners, concurrency, 2);
        old.hand_over_to(&new);
        half.send("dy");
        let answer = half.response().text();
        // The rest may arrive before the old server hears that it is to stop.
        assert!(answer == "2 body" || answer == "1 body", "{answer}");
        eventually("the idle connection has moved", || idle.get("/").text() == "2 ");
        let answer = running.response();
        assert_eq!((answer.text().as_str(), answer.field("Connection")), ("1 ", None), "finished where it began");
        eventually("it is kept alive and moves", || running.get("/").text() == "2 ");
        old.join();
        assert_eq!(Client::connect(address).get("/").text(), "2 ");
        new.handle.shutdown();
        new.join();
        drop(listeners);
        // A process that another test starts has copies of all descriptors for a moment.
        eventually("nobody listens any more", || std::net::TcpStream::connect(address).is_err());
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
                    // Some keep their connection, some open one for each request.
                    if index % 3 == 0 {
                        client = Client::connect(address);
                    }
                    let answer = client.get(if index == 1 { "/slow" } else { "/" });
                    let generation = answer.text().trim().parse().unwrap();
                    assert!(answer.complete && answer.field("Connection").is_none());
                    assert!(index % 3 == 0 || generation >= newest, "a kept connection never goes back");
                    newest = generation;
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let mut serving = serve(&listeners, Concurrency::Threads, 0);
    for generation in 1..=10 {
        let before = answered.load(SeqCst);
        eventually("requests are answered", || answered.load(SeqCst) > before + 100);
        let next = serve(&listeners, Concurrency::Threads, generation);
        serving.hand_over_to(&next);
        std::mem::replace(&mut serving, next).join();
    }
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    serving.handle.shutdown();
    serving.join();
}

/// Keeps a handle to the client of each request.
#[derive(Clone, Default)]
struct Keeping(Arc<Mutex<Vec<amboss_core::Client>>>);

impl Application for Keeping {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.0.lock().unwrap().push(environ.client());
        start_response.start("200 OK", &[])?;
        Ok(Body::from("kept"))
    }
}

#[test]
fn a_connection_that_the_application_looks_at_meanwhile_is_handed_over_all_the_same() {
    let (listeners, address) = listen();
    let serve = |app: Keeping| {
        let mut server = make_server_on(listeners.clone(), app, Concurrency::Threads, quiet()).unwrap();
        let (handle, receiver) = (server.shutdown_handle(), server.receiver());
        Serving { handle, receiver, slow: Arc::default(), thread: thread::spawn(move || server.serve_forever()) }
    };
    let mut serving = serve(Keeping::default());
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    for _ in 0..10 {
        let app = Keeping::default();
        let next = serve(app.clone());
        // All move to the new one, whose application looks at them without a pause while it hands them over.
        serving.hand_over_to(&next);
        std::mem::replace(&mut serving, next).join();
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "kept"));
        let over = Arc::new(AtomicBool::new(false));
        let looking: Vec<_> = (0..4)
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
        let last = serve(Keeping::default());
        serving.hand_over_to(&last);
        std::mem::replace(&mut serving, last).join();
        over.store(true, SeqCst);
        looking.into_iter().for_each(|thread| thread.join().unwrap());
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "kept"));
    }
    serving.handle.shutdown();
    serving.join();
}

#[test]
fn a_server_that_has_stopped_gives_arrivals_back() {
    let (listeners, address) = listen();
    let old = serve(&listeners, Concurrency::Threads, 1);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "1 ");
    let gone = serve(&listeners, Concurrency::Threads, 2);
    let receiver = gone.receiver.clone();
    gone.handle.shutdown();
    gone.join();
    let (back, came) = std::sync::mpsc::channel();
    old.handle.hand_over(move |waiting| back.send(receiver.adopt(waiting).is_err()).unwrap());
    assert!(came.recv_timeout(DEADLINE).unwrap());
    assert!(client.at_end());
    old.join();
}

#[test]
fn requests_that_wait_for_a_thread_go_to_the_successor_with_their_bodies() {
    let (listeners, address) = listen();
    let (gate, begun) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let server = |generation: usize| {
        let (gate, begun) = (gate.clone(), begun.clone());
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            if environ.path() == &b"/gate"[..] {
                begun.fetch_add(1, SeqCst);
                gate.pass();
            }
            let mut body = Vec::new();
            std::io::Read::read_to_end(environ.input(), &mut body)?;
            let length = environ.text("CONTENT_LENGTH").into_owned();
            start_response.start("200 OK", &[])?;
            let sum: usize = body.iter().map(|&byte| usize::from(byte)).sum();
            Ok(Body::from(format!("{generation} {length} {} {sum}", body.len())))
        };
        let mut settings = quiet();
        settings.runtime.threads = 1;
        settings.limits.body_memory = 10_000;
        let mut server = make_server_on(listeners.clone(), app, Concurrency::Threads, settings).unwrap();
        let (handle, receiver) = (server.shutdown_handle(), server.receiver());
        (handle, receiver, thread::spawn(move || server.serve_forever()))
    };
    let (old, _, old_thread) = server(1);
    let mut running = Client::connect(address);
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it runs", || begun.load(SeqCst) == 1);

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
        // Another request, right behind it.
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
    assert_eq!(begun.load(SeqCst), 1, "what has begun is not begun again");
    gate.open();
    assert_eq!(running.response().text(), "1  0 0");
    for (handle, thread) in [(old, old_thread), (new, new_thread)] {
        handle.shutdown();
        eventually("the server ends", || thread.is_finished());
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn what_can_t_go_to_a_successor_is_refused_before_the_process_ends() {
    let (gate, begun) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let app = gated(&gate, &begun);
    let masking = crate::transport::Masking::default();
    let setup = Setup::threaded().with(|settings| {
        settings.runtime.threads = 1;
        settings.transport = Some(Arc::new(masking));
    });
    let server = setup.start(app);
    let connect = || crate::transport::knock(server.addr());
    let mut running = connect();
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it runs", || begun.load(SeqCst) == 1);
    let mut waiting = connect();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut later = connect();
    server.handle.hand_over(|_| panic!("a connection in a layer was handed over"));
    server.handle.refuse_waiting(DEADLINE);
    later.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for client in [&mut waiting, &mut later] {
        let answer = client.response();
        assert_eq!((answer.status, answer.field("Connection")), (503, Some("close")));
    }
    gate.open();
    assert_eq!(running.response().status, 200);
}
