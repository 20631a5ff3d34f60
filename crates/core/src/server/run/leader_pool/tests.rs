//! The ownership of the loop, without and with running threads.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use super::scheduler::PoolThread;
use super::LeaderPool;
use crate::server::event_loop::{EventLoop, Next};
use crate::server::fixtures::{self, wait_until, DEADLINE};
use crate::server::io::waker::Waker;
use crate::server::loop_group::LoopGroup;
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::service::Service;
use crate::server::settings::Settings;
use crate::server::shutdown::ShutdownHandle;
use crate::server::sync::lock;

/// Returns a pool without threads, and its loop.
fn pool(change: impl FnOnce(&mut Settings)) -> (Arc<LeaderPool>, Box<EventLoop>) {
    let service = fixtures::service(|settings| {
        settings.runtime.threads = 4;
        settings.runtime.loops = 1;
        change(settings);
    });
    let group = LoopGroup::new(&service.settings, Vec::new());
    member(&service, &group, 0)
}

/// Returns the pool of one loop of a group, and that loop.
fn member(service: &Arc<Service>, group: &Arc<LoopGroup>, index: usize) -> (Arc<LeaderPool>, Box<EventLoop>) {
    let (waker, shutdown) = (Arc::new(Waker::new().unwrap()), ShutdownHandle::new());
    shutdown.register(waker.clone());
    let event_loop = EventLoop::new(service.clone(), group.clone(), index, waker.clone(), true).unwrap();
    (LeaderPool::new(service.clone(), shutdown, waker, group.clone(), index), Box::new(event_loop))
}

#[test]
fn a_leader_takes_its_loop_back_after_a_fast_call() {
    let (pool, event_loop) = pool(|_| {});
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    assert_eq!(leader.admit(), Admission::Run);
    assert!(leader.holds_loop());
    leader.enter_blocking();
    assert!(leader.holds_loop() && lock(&pool.shared_loop).is_some());
    assert_eq!(pool.calls.load(Ordering::SeqCst) % 2, 1, "the leader is inside the application");
    assert!(!leader.exit_blocking(), "the loop's cached time is still valid");
    // The next request of the same connection: only the counter moves.
    leader.enter_blocking();
    assert_eq!(pool.calls.load(Ordering::SeqCst), 3);
    assert!(leader.reclaim().is_some());
    assert_eq!((pool.calls.load(Ordering::SeqCst), pool.group.available_slots(0)), (4, 4));
}

#[test]
fn a_claimed_loop_is_lost_and_the_call_keeps_a_slot() {
    let (pool, event_loop) = pool(|_| {});
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    leader.admit();
    leader.enter_blocking();
    let call = pool.calls.load(Ordering::SeqCst);
    let claimed = pool.claim_from_call(call).expect("the call runs");
    assert!(claimed.is_some());
    assert!(pool.claim_from_call(call).is_none(), "a loop is claimed once");
    assert!(!leader.holds_loop() && leader.exit_blocking());
    assert_eq!((pool.detached.load(Ordering::SeqCst), pool.group.available_slots(0)), (1, 3));
    assert!(leader.reclaim().is_none());
    pool.note_completed();
    assert_eq!((pool.detached.load(Ordering::SeqCst), pool.group.available_slots(0)), (0, 4));
}

#[test]
fn a_pipelined_request_continues_in_the_slot_of_the_one_before_it() {
    for is_claimed in [false, true] {
        let (pool, event_loop) = pool(|settings| settings.runtime.threads = 2);
        let mut leader = PoolThread::leading(&pool, event_loop, false);
        assert_eq!(leader.admit(), Admission::Run);
        leader.enter_blocking();
        assert_eq!(leader.admit(), Admission::Run);
        let before = pool.calls.load(Ordering::SeqCst);
        assert_eq!(before % 2, 1, "the loop can still be claimed");
        let claimed = is_claimed.then(|| pool.claim_from_call(before).flatten().expect("the call runs"));
        leader.enter_blocking();
        assert_eq!((leader.holds_loop(), pool.claim_from_call(before).is_some()), (!is_claimed, false));
        assert_eq!(pool.calls.load(Ordering::SeqCst), before + if is_claimed { 1 } else { 2 }, "another call");
        assert_eq!(leader.reclaim().is_some(), !is_claimed);
        if let Some(event_loop) = claimed {
            // The slot belongs to the thread now, and the next leader can take the other one only.
            let mut next = PoolThread::leading(&pool, event_loop, true);
            assert_eq!(next.admit(), Admission::Dispatch);
            pool.note_detached();
            assert_eq!(next.admit(), Admission::Queue);
            pool.note_completed();
            pool.note_completed();
        }
        assert_eq!((pool.detached.load(Ordering::SeqCst), pool.group.available_slots(0)), (0, 2));
    }
}

#[test]
fn a_pipelined_request_gives_way_to_a_thread_that_has_waited_for_its_client() {
    let (pool, event_loop) = pool(|settings| settings.runtime.threads = 2);
    let group = &pool.group;
    group.expect_detached();
    assert!(group.reserve_client_wait());
    group.begin_client_wait();
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    assert_eq!(leader.admit(), Admission::Run);
    leader.enter_blocking();
    group.expect_detached();
    std::thread::scope(|scope| {
        let returning = scope.spawn(|| group.end_client_wait());
        wait_until("the thread waits for a slot", || group.has_returning());
        assert_eq!(leader.admit(), Admission::Queue);
        group.note_queued(0, Some(Instant::now()));
        returning.join().unwrap();
    });
    assert!(leader.reclaim().is_some());
    assert_eq!(group.available_slots(0), 0);
}

#[test]
fn between_two_calls_the_loop_is_the_leaders() {
    let (pool, event_loop) = pool(|_| {});
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    leader.enter_blocking();
    let question = pool.calls.load(Ordering::SeqCst);
    assert_eq!(leader.admit(), Admission::Run);
    assert_eq!(pool.calls.load(Ordering::SeqCst) % 2, 0);
    assert!(leader.holds_loop() && pool.claim_from_call(question).is_none());
    leader.enter_blocking();
    assert!(leader.holds_loop() && leader.reclaim().is_some());
    assert_eq!((pool.detached.load(Ordering::SeqCst), pool.group.available_slots(0)), (0, 4));
}

#[test]
fn a_loop_that_is_lost_before_the_admission_takes_no_slot_of_the_next_leader() {
    let (pool, event_loop) = pool(|settings| settings.runtime.threads = 1);
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    leader.enter_blocking();
    let claimed = pool.claim_from_call(pool.calls.load(Ordering::SeqCst)).flatten().expect("the call runs");
    assert_eq!(leader.admit(), Admission::Queue, "the thread itself has the only slot");
    assert!(!leader.holds_loop() && leader.reclaim().is_none());
    pool.note_completed();
    assert_eq!(PoolThread::leading(&pool, claimed, false).admit(), Admission::Run);
}

#[test]
fn a_call_that_has_ended_is_not_claimed() {
    let (pool, event_loop) = pool(|_| {});
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    leader.admit();
    leader.enter_blocking();
    let call = pool.calls.load(Ordering::SeqCst);
    assert!(leader.reclaim().is_some());
    assert!(pool.claim_from_call(call).is_none());
    assert_eq!(pool.detached.load(Ordering::SeqCst), 0);
}

#[test]
fn requests_that_are_expected_to_block_go_to_other_threads_while_there_are_slots() {
    let (pool, event_loop) = pool(|settings| settings.runtime.threads = 2);
    let mut leader = PoolThread::leading(&pool, event_loop, true);
    assert_eq!(leader.admit(), Admission::Dispatch);
    pool.note_detached();
    assert_eq!(leader.admit(), Admission::Dispatch);
    pool.note_detached();
    assert_eq!(leader.admit(), Admission::Queue);
    let mut detached = PoolThread::detached(&pool);
    assert_eq!(detached.admit(), Admission::Run, "its slot was acquired in advance");
    assert_eq!(detached.admit(), Admission::Queue, "a second request has none");
}

#[test]
fn two_leaders_do_not_pass_requests_to_threads_with_the_same_slot() {
    let service = fixtures::service(|settings| {
        settings.runtime.threads = 2;
        settings.runtime.loops = 2;
    });
    let group = LoopGroup::new(&service.settings, Vec::new());
    let [(first, first_loop), (second, second_loop)] = [0, 1].map(|index| {
        group.begin_loop(index);
        member(&service, &group, index)
    });
    first.note_detached();
    // Both decide before one of them has passed its request on.
    assert_eq!(PoolThread::leading(&first, first_loop, true).admit(), Admission::Dispatch);
    assert_eq!(PoolThread::leading(&second, second_loop, true).admit(), Admission::Queue);
    first.note_detached();
    assert_eq!(group.available_slots(1), 0);
}

#[test]
fn a_leader_keeps_its_loop_while_there_is_no_monitor_to_take_it() {
    let (pool, event_loop) = pool(|_| {});
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    leader.admit();
    leader.enter_blocking();
    let call = pool.calls.load(Ordering::SeqCst);
    assert!(!pool.pass_loop(call));
    lock(&pool.threads).has_monitor = true;
    assert!(pool.pass_loop(call));
    assert!(lock(&pool.passed_loop).is_some() && !leader.holds_loop());
}

/// Adds a connection that has sent a request. Returns the client's end.
fn connect(event_loop: &mut EventLoop) -> UnixStream {
    let mut client = fixtures::connect(event_loop);
    client.write_all(b"GET /a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    client
}

fn response(mut client: UnixStream) -> String {
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    received
}

#[test]
fn the_threads_of_a_pool_answer_requests_and_end_with_the_pool() {
    let (pool, mut event_loop) = pool(|_| {});
    let clients: Vec<UnixStream> = (0..10).map(|_| connect(&mut event_loop)).collect();
    assert!(pool.start(event_loop).is_ok());
    for client in clients {
        assert!(response(client).ends_with("/a"));
    }
    pool.shutdown.shutdown();
    wait_until("the loop has ended", || pool.is_stopped());
    pool.join(Instant::now() + DEADLINE).unwrap();
    assert_eq!(lock(&pool.threads).count, 0);
}

#[test]
fn a_job_does_not_take_the_thread_that_is_to_be_the_monitor() {
    let (pool, mut event_loop) = pool(|_| {});
    let _client = connect(&mut event_loop);
    let Ok(Next::Work { token, connection, .. }) = event_loop.next(None) else {
        panic!("the client has sent a request")
    };
    // One thread is idle, and was notified to become the monitor.
    lock(&pool.threads).idle = 1;
    assert!(pool.group.begin_call(0));
    assert!(pool.dispatch(token, connection).is_ok());
    assert_eq!(lock(&pool.threads).count, 1, "another thread was started for the job");
    pool.stopped.store(true, Ordering::SeqCst);
    wait_until("the thread has ended", || {
        pool.wake_monitor();
        lock(&pool.threads).count == 0
    });
}

#[test]
fn a_hand_over_needs_two_permissions_in_a_row() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let (pool, event_loop) = pool(|settings| {
        // Every second call returns true, so never two in a row.
        settings.runtime.may_hand_over = Some(Arc::new(|_| ASKED.fetch_add(1, Ordering::SeqCst) % 2 == 1));
    });
    let mut leader = PoolThread::leading(&pool, event_loop, false);
    leader.admit();
    leader.enter_blocking();
    let monitor = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.monitor().is_some())
    };
    wait_until("the monitor has asked often", || ASKED.load(Ordering::SeqCst) > 20);
    assert!(leader.holds_loop());
    assert!(leader.reclaim().is_some());
    pool.stopped.store(true, Ordering::SeqCst);
    pool.wake_monitor();
    assert!(!monitor.join().unwrap(), "it has claimed nothing");
}
