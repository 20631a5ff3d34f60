//! The components of a loop, and a whole loop over socket pairs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::close_queue::CloseQueue;
use super::ready_queue::ReadyQueue;
use super::slab::Slab;
use super::wait_queue::WaitQueue;
use super::{EventLoop, Next, Token};
use crate::server::connection::{Connection, Step};
use crate::server::fixtures::{connect, connection, service, Busy, ScriptedTransport, DEADLINE};
use crate::server::io::socket::Socket;
use crate::server::io::waker::Waker;
use crate::server::loop_group::LoopGroup;
use crate::server::scheduler::{Scheduler, SingleThread};
use crate::server::settings::Settings;
use crate::server::shutdown::ShutdownHandle;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n";

fn socket() -> Arc<Socket> {
    Arc::new(Socket::Unix(UnixStream::pair().unwrap().0))
}

/// Returns a slab, and a function that makes connections for it.
fn slab() -> (Slab, impl Fn() -> Box<Connection>) {
    let (service, transport) = (service(|_| {}), ScriptedTransport::default());
    (Slab::default(), move || connection(&service, &transport))
}

#[test]
fn a_token_does_not_match_the_next_connection_in_its_slot() {
    let (mut slab, connection) = slab();
    let first = slab.insert(socket(), connection());
    assert_eq!((slab.open(), slab.take(first).is_some(), slab.take(first).is_none()), (1, true, true));
    assert!(slab.remove(first) && !slab.remove(first));
    let second = slab.insert(socket(), connection());
    assert_eq!(first as u32, second as u32, "the slot is used again");
    assert!(slab.slot(first).is_none() && slab.slot(second).is_some());
    assert_eq!(slab.open(), 1);
}

#[test]
fn requests_leave_the_queue_in_order_and_removed_connections_are_skipped() {
    let (mut slab, connection) = slab();
    let mut queue = WaitQueue::default();
    let now = Instant::now();
    let add = |slab: &mut Slab, queue: &mut WaitQueue, since: Instant| {
        let token = slab.insert(socket(), connection());
        slab.slot(token).unwrap().queued = true;
        queue.push(slab, token, Some(since));
        token
    };
    let first = add(&mut slab, &mut queue, now);
    let second = add(&mut slab, &mut queue, now + Duration::from_secs(1));
    let third = add(&mut slab, &mut queue, now + Duration::from_secs(2));
    // The second one leaves the queue, because its client has left.
    slab.remove(second);
    assert_eq!(queue.pop(&mut slab), Some(first));
    assert_eq!(queue.pop(&mut slab), Some(third));
    assert_eq!(queue.pop(&mut slab), None);
    assert!(queue.begin_refusing() && !queue.begin_refusing());
}

#[test]
fn a_full_close_queue_returns_its_first_connection() {
    let mut queue = CloseQueue::default();
    let overflow: Vec<Token> = (0..130).filter_map(|token| queue.push(token, 1000)).collect();
    assert_eq!(overflow, [0, 1]);
    assert_eq!((queue.next_at(), queue.pop_due(1019)), (Some(1020), None));
    assert_eq!(queue.pop_due(1020), Some(2));
}

#[test]
fn responses_are_batched_until_eight_of_them_have_more_to_send() {
    let mut ready = ReadyQueue::new(true);
    for token in 0..7 {
        assert!(!ready.push_flush(token, true) && !ready.push_flush(100 + token, false));
    }
    assert!(ready.push_flush(7, true), "eight responses have more to send");
    assert_eq!(ready.take_pending_flush().len(), 15);
    assert!(!ready.push_flush(8, true), "the count starts again");
}

struct Fixture {
    event_loop: EventLoop,
    shutdown: ShutdownHandle,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut Settings)) -> Fixture {
        let waker = Arc::new(Waker::new().unwrap());
        let shutdown = ShutdownHandle::new();
        shutdown.register(waker.clone());
        let event_loop = EventLoop::new(service(change), LoopGroup::single(Vec::new()), 0, waker, true).unwrap();
        Fixture { event_loop, shutdown }
    }

    fn connect(&mut self) -> UnixStream {
        connect(&mut self.event_loop)
    }

    /// Runs the loop until nothing is ready.
    fn run(&mut self, scheduler: &mut dyn Scheduler) {
        loop {
            match self.event_loop.next(Some(Duration::ZERO)).unwrap() {
                Next::Work { token, mut connection, readable } => {
                    let (service, now) = (self.event_loop.service.clone(), self.event_loop.now);
                    let step = connection.advance(&service, scheduler, readable, now);
                    self.event_loop.return_connection(token, connection, step);
                }
                Next::Discard(remains) => drop(remains),
                Next::Notified => return,
            }
        }
    }

    fn run_until(&mut self, what: &str, condition: impl Fn(&EventLoop) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(&self.event_loop) {
            assert!(Instant::now() < deadline, "{what}");
            self.run(&mut SingleThread);
        }
    }
}

fn response(mut client: &UnixStream) -> String {
    let mut received = Vec::new();
    while !received.ends_with(b"/a") {
        let mut piece = [0; 1024];
        let count = client.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(received).unwrap()
}

#[test]
fn connections_are_served_and_wait_for_the_next_request() {
    let mut fixture = Fixture::new(|_| {});
    let clients: Vec<UnixStream> = (0..5).map(|_| fixture.connect()).collect();
    for _ in 0..3 {
        for mut client in &clients {
            client.write_all(GET).unwrap();
        }
        fixture.run(&mut SingleThread);
        for client in &clients {
            assert!(response(client).starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
    assert_eq!((fixture.event_loop.open(), fixture.event_loop.batch_left()), (5, 0));
    drop(clients);
    fixture.run(&mut SingleThread);
    assert_eq!(fixture.event_loop.open(), 0);
}

#[test]
fn an_idle_connection_is_closed_after_its_timeout() {
    let mut fixture = Fixture::new(|settings| settings.timeouts.idle = Duration::from_millis(20));
    let mut client = fixture.connect();
    fixture.run(&mut SingleThread);
    assert_eq!(fixture.event_loop.open(), 1);
    fixture.run_until("it is closed", |event_loop| event_loop.open() == 0);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_queued_request_runs_when_it_is_resumed_unless_its_client_has_left() {
    let mut fixture = Fixture::new(|_| {});
    let clients: Vec<UnixStream> = (0..3).map(|_| fixture.connect()).collect();
    for mut client in &clients {
        client.write_all(GET).unwrap();
    }
    fixture.run(&mut Busy);
    assert!(fixture.event_loop.has_queued());
    let mut clients = clients.into_iter();
    let (first, second, third) = (clients.next().unwrap(), clients.next().unwrap(), clients.next().unwrap());
    drop(second);
    fixture.run(&mut Busy);
    assert_eq!(fixture.event_loop.open(), 2, "the second connection is closed");
    assert_eq!(fixture.event_loop.resume_queued(1), 1);
    fixture.run(&mut SingleThread);
    response(&first);
    assert_eq!(fixture.event_loop.resume_queued(5), 1);
    fixture.run(&mut SingleThread);
    response(&third);
    assert!(!fixture.event_loop.has_queued());
}

#[test]
fn a_queued_request_expires_with_503() {
    let mut fixture = Fixture::new(|settings| settings.timeouts.queued = Duration::from_millis(20));
    let mut client = fixture.connect();
    client.write_all(GET).unwrap();
    fixture.run(&mut Busy);
    fixture.run_until("it has expired", |event_loop| !event_loop.slab.iter().any(|(_, slot)| slot.queued));
    let mut start = [0; 13];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 503 ");
}

#[test]
fn a_stop_closes_idle_connections_and_answers_what_has_arrived() {
    let mut fixture = Fixture::new(|_| {});
    let (mut idle, mut asks) = (fixture.connect(), fixture.connect());
    for mut client in [&idle, &asks] {
        client.write_all(GET).unwrap();
    }
    fixture.run(&mut SingleThread);
    response(&idle);
    response(&asks);
    asks.write_all(GET).unwrap();
    fixture.shutdown.shutdown();
    assert!(!fixture.event_loop.stop_if_requested(&fixture.shutdown, 0));
    fixture.run(&mut SingleThread);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert!(response(&asks).contains("Connection: close\r\n"));
    drop((idle, asks));
    fixture.run_until("all are closed", |event_loop| event_loop.open() == 0);
    assert!(!fixture.event_loop.stop_if_requested(&fixture.shutdown, 1), "a thread still answers a request");
    assert!(fixture.event_loop.stop_if_requested(&fixture.shutdown, 0));
}

#[test]
fn a_stop_cuts_running_requests_after_its_timeout() {
    let mut fixture = Fixture::new(|settings| settings.timeouts.shutdown = Duration::ZERO);
    let mut client = fixture.connect();
    client.write_all(GET).unwrap();
    // A thread advances the connection.
    let Next::Work { token, connection, .. } = fixture.event_loop.next(None).unwrap() else { panic!("nothing to do") };
    fixture.shutdown.shutdown();
    assert!(fixture.event_loop.stop_if_requested(&fixture.shutdown, 1));
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "its socket is shut down");
    fixture.event_loop.return_connection(token, connection, Step::Close);
}

#[test]
fn a_connection_is_handed_over_with_the_bytes_read_ahead() {
    let mut fixture = Fixture::new(|_| {});
    let mut client = fixture.connect();
    client.write_all(b"GET /a HT").unwrap();
    fixture.run(&mut SingleThread);
    let (sender, receiver) = std::sync::mpsc::channel();
    fixture.shutdown.hand_over(move |connection| sender.send(connection.read_ahead).unwrap());
    assert!(!fixture.event_loop.stop_if_requested(&fixture.shutdown, 0));
    fixture.run(&mut SingleThread);
    assert_eq!(receiver.recv_timeout(DEADLINE).unwrap(), b"GET /a HT");
    assert_eq!(fixture.event_loop.open(), 0);
}
