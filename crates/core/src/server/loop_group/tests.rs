//! The distribution of connections, and the limit on running requests.

use std::sync::atomic::Ordering;
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::Instant;

use super::LoopGroup;
use crate::server::fixtures::{wait_until, DEADLINE};
use crate::server::io::waker::Waker;
use crate::server::settings::Settings;

fn settings(loops: usize, threads: usize) -> Settings {
    let mut settings = Settings::default();
    (settings.runtime.loops, settings.runtime.threads) = (loops, threads);
    settings
}

/// Returns a group of running loops with these numbers of connections, and `threads` slots.
fn group(open: &[usize], threads: usize) -> Arc<LoopGroup> {
    let settings = settings(open.len(), threads);
    let group = LoopGroup::new(&settings, Vec::new());
    for (index, &open) in open.iter().enumerate() {
        group.register(index, Arc::new(Waker::new().unwrap()));
        group.begin_loop(index);
        group.add_loop(index);
        group.note_open(index, open);
    }
    group
}

#[test]
fn a_connection_goes_to_a_loop_with_clearly_fewer() {
    for (open, index, expected) in [
        (vec![5, 5], 0, None),
        (vec![5, 4], 0, Some(1)),
        (vec![100, 90], 0, None),
        (vec![100, 80], 0, Some(1)),
        (vec![3, 9, 1], 1, Some(2)),
        (vec![9], 0, None),
    ] {
        let group = group(&open, 64);
        assert_eq!(group.less_loaded(index, open[index]), expected, "{open:?} from {index}");
    }
    assert_eq!(group(&[3, 1, 2], 64).least_loaded(), 1);
}

#[test]
fn excess_is_what_exceeds_a_loops_share_by_an_eighth() {
    let group = group(&[100, 0], 64);
    // The share is 50, and an eighth of it is tolerated.
    assert_eq!((group.excess(0), group.excess(1), group.open()), (44, 0, 100));
}

#[test]
fn another_loop_is_requested_once_when_there_are_connections_for_it() {
    let settings = settings(2, 8);
    let group = LoopGroup::new(&settings, Vec::new());
    group.request_loop(super::CONNECTIONS_PER_LOOP - 1);
    assert!(!super::lock(&group.state).loop_requested);
    group.request_loop(super::CONNECTIONS_PER_LOOP);
    assert!(group.wait_for_request(1));
    group.note_exhausted();
    group.request_loop(100);
    assert!(!super::lock(&group.state).loop_requested, "the system has refused a thread");
    group.note_loop_ended();
    assert!(!group.wait_for_request(1), "all loops have ended");
}

#[test]
fn no_more_requests_run_than_there_are_slots() {
    let group = group(&[0, 0], 2);
    assert!(group.begin_call(0) && group.begin_call(1));
    // The first leader loses its loop to another thread, which runs the next request.
    group.note_detached(0);
    assert_eq!(group.available_slots(0), 0);
    assert!(!group.begin_call(0));
    group.note_completed(0);
    assert!(group.begin_call(0));
    group.end_call(0);
    group.end_call(1);
    assert_eq!((group.available_slots(0), group.available_slots(1)), (2, 2));
}

#[test]
fn a_loop_that_queued_a_request_while_another_counted_twice_is_woken() {
    let group = group(&[0, 0], 2);
    assert!(group.begin_call(0));
    // The first loop is about to lose its leader, whose request counts twice until `end_leading`.
    group.expect_detached();
    assert!(!group.begin_call(1));
    group.note_queued(1, Some(Instant::now()));
    assert_eq!(group.available_slots(1), 0);
    let waker = super::lock(&group.members[1].mailbox).waker.clone().unwrap();
    waker.reset();
    group.end_leading(0);
    assert_eq!(group.available_slots(1), 1);
    assert!(waker.is_pending(), "the queued request would wait until another one ends");
}

#[test]
fn a_leader_and_a_detached_thread_share_a_group_of_one_loop() {
    let group = group(&[0], 2);
    assert!(group.begin_call(0));
    group.note_detached(0);
    assert!(group.begin_call(0), "one of two slots is taken");
    group.note_detached(0);
    assert!(!group.begin_call(0));
}

#[test]
fn client_waits_and_file_writes_have_maximums() {
    let mut settings = settings(1, 2);
    settings.limits.client_waits = 1;
    let group = LoopGroup::new(&settings, Vec::new());
    assert!(group.reserve_client_wait() && !group.reserve_client_wait());
    assert_eq!(group.waiting_threads(), 1);
    group.cancel_client_wait();
    assert!(group.reserve_client_wait());
    let writes = (0..100).take_while(|_| group.begin_file_write()).count();
    assert_eq!((writes, group.waiting_threads()), (16, 17));
}

/// Starts a thread that returns from a client wait. The channel receives a message when the thread has a slot again.
fn returning_thread(group: &Arc<LoopGroup>) -> mpsc::Receiver<()> {
    group.expect_detached();
    assert!(group.reserve_client_wait());
    group.begin_client_wait();
    request_slot(group)
}

/// Starts a thread whose client wait ends, so that it requests a slot. The channel receives a message when it has one.
fn request_slot(group: &Arc<LoopGroup>) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    let group = group.clone();
    thread::spawn(move || {
        group.end_client_wait();
        let _ = sender.send(());
    });
    receiver
}

#[test]
fn a_thread_that_returns_from_a_client_wait_gets_the_next_slot() {
    let settings = settings(1, 2);
    let group = LoopGroup::new(&settings, Vec::new());
    group.expect_detached();
    let returned = returning_thread(&group);
    // The thread has a slot again, so both slots are taken.
    returned.recv_timeout(DEADLINE).unwrap();
    assert_eq!(group.available_slots(0), 0);

    assert!(group.reserve_client_wait());
    let waits = request_slot(&group);
    wait_until("it waits for a slot", || group.returning.load(Ordering::SeqCst) == 1);
    assert!(waits.try_recv().is_err());
    assert!(!group.begin_call(0), "a later request does not take its slot");
    group.note_completed(0);
    waits.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_request_that_was_queued_earlier_goes_before_a_returning_thread() {
    let settings = settings(1, 2);
    let group = LoopGroup::new(&settings, Vec::new());
    group.expect_detached();
    group.expect_detached();
    group.note_queued(0, Some(Instant::now()));
    assert!(group.reserve_client_wait());
    let receiver = request_slot(&group);
    wait_until("it waits for a slot", || group.returning.load(Ordering::SeqCst) == 1);
    group.note_completed(0);
    assert_eq!(group.available_slots(0), 1, "the slot is the queued request's");
    assert!(receiver.try_recv().is_err());
    // That request runs and ends, and no request is queued any more.
    group.note_resumed(0, 1);
    assert!(group.begin_call(0));
    group.note_queued(0, None);
    group.end_call(0);
    receiver.recv_timeout(DEADLINE).unwrap();
}

#[cfg(unix)]
#[test]
fn a_loop_that_has_ended_accepts_no_connections() {
    use crate::server::fixtures::{connection, service, ScriptedTransport};
    use crate::server::io::socket::Socket;
    use std::os::unix::net::UnixStream;

    let (service, transport) = (service(|_| {}), ScriptedTransport::default());
    let group = group(&[0, 0], 8);
    let (near, _far) = UnixStream::pair().unwrap();
    let socket = Arc::new(Socket::Unix(near));
    assert!(group.send(1, socket.clone(), connection(&service, &transport)).is_ok());
    assert_eq!(group.open(), 1, "a sent connection is counted at once");
    assert_eq!(group.receive(1).len(), 1);
    assert!(group.send(1, socket.clone(), connection(&service, &transport)).is_ok());
    assert_eq!(group.deregister(1).len(), 1);
    assert!(group.send(1, socket, connection(&service, &transport)).is_err());
}
