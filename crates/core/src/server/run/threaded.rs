//! The driver with threads: one or more event loops, each with a leader pool.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leader_pool::LeaderPool;
use crate::server::event_loop::EventLoop;
use crate::server::io::waker::Waker;
use crate::server::loop_group::LoopGroup;
use crate::server::service::Service;
use crate::server::shutdown::ShutdownHandle;

/// How long a stopped server waits for its threads to end. A thread inside the application can't be terminated; it ends
/// when the application returns.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until the server is told to stop and the threads have ended. Starts further loops as connections arrive.
///
/// The calling thread does not run the application, so that it can start the next loop at any time.
pub(crate) fn serve(
    service: &Arc<Service>,
    shutdown: &ShutdownHandle,
    waker: Arc<Waker>,
    event_loop: Box<EventLoop>,
) -> io::Result<()> {
    let group = event_loop.group.clone();
    let first = LeaderPool::new(service.clone(), shutdown.clone(), waker, group.clone(), 0);
    if let Err(event_loop) = first.start(event_loop) {
        // The system refuses even the first thread: the calling thread leads.
        first.lead_here(event_loop);
    }
    let mut pools = vec![first];
    while group.wait_for_request(pools.len()) {
        if !group.may_grow(pools.len()) || shutdown.is_requested() {
            continue;
        }
        match start_loop(service, shutdown, &group, pools.len()) {
            Ok(pool) => pools.push(pool),
            Err(error) => {
                group.note_exhausted();
                let message =
                    format!("can't start another event loop, the server continues with {}: {error}", pools.len());
                service.settings.log.error(&message);
            }
        }
    }
    let deadline = Instant::now() + JOIN_TIMEOUT;
    pools.iter().map(|pool| pool.join(deadline)).fold(Ok(()), io::Result::and)
}

/// Starts loop `index` of the group with its pool.
fn start_loop(
    service: &Arc<Service>,
    shutdown: &ShutdownHandle,
    group: &Arc<LoopGroup>,
    index: usize,
) -> io::Result<Arc<LeaderPool>> {
    let waker = Arc::new(Waker::new()?);
    let event_loop = Box::new(EventLoop::new(service.clone(), group.clone(), index, waker.clone(), true)?);
    shutdown.register(waker.clone());
    let pool = LeaderPool::new(service.clone(), shutdown.clone(), waker, group.clone(), index);
    group.begin_loop(index);
    if pool.start(event_loop).is_err() {
        group.cancel_loop(index);
        return Err(io::Error::other("the system refused a thread for it"));
    }
    group.add_loop(index);
    Ok(pool)
}
