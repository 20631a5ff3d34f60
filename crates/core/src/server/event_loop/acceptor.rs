//! The listeners of a loop: accepting from them, and pausing in favour of other processes or of open connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::server::connection::Connection;
use crate::server::io::poller::{PollInterest, Poller};
use crate::server::io::socket::Socket;
use crate::server::listener::ActiveListener;
use crate::server::proxies::ProxyOrigin;
use crate::server::service::Service;
use crate::server::sys;

/// The poller's key of a listener: this bit and the listener's index.
pub(super) const LISTENER: u64 = 1 << 63;

/// The maximum number of connections accepted in a row, before open connections get their turn.
pub(super) const ACCEPTS_IN_A_ROW: usize = 64;
/// How long a process that has just accepted a connection leaves further ones to other processes, in milliseconds. This
/// is the shortest timeout of a poller.
const YIELD_FOR: u64 = 1;
/// The interval at which a process whose threads are all busy checks for connections that no other process accepts, in
/// milliseconds.
const SATURATED_CHECK: u64 = 10;
/// The number of consecutive checks that have to find a connection before the process accepts it: the other processes
/// are as busy then. The request has to be read so that it can time out in the queue, or be dropped when its client
/// leaves.
const SATURATED_CHECKS: u32 = 3;

/// The result of one attempt to accept.
pub(super) enum Accepted {
    Connection(Arc<Socket>, Box<Connection>),
    /// No connection, but others may be pending.
    Retry,
    /// No connection is pending.
    Empty,
    /// A connection is pending, but the system can't give it to this process.
    Failed(io::Error),
}

pub(super) struct Acceptor {
    listeners: Vec<ActiveListener>,
    /// Whether new connections are being left to other processes, because this one has just accepted one.
    yielding: bool,
    /// Whether accepting is paused because all threads of this process are busy.
    saturated: bool,
    /// The number of consecutive checks, while saturated, that have found connections and left them to other processes.
    left_to_others: u32,
    /// When accepting resumes, in the service's milliseconds; with `u64::MAX`, when a connection closes. `None` while
    /// not paused.
    paused_until: Option<u64>,
}

impl Acceptor {
    /// Registers the listeners with the poller.
    pub(super) fn new(listeners: Vec<ActiveListener>, poller: &mut Poller) -> io::Result<Acceptor> {
        let acceptor = Acceptor { listeners, yielding: false, saturated: false, left_to_others: 0, paused_until: None };
        acceptor.register(poller)?;
        Ok(acceptor)
    }

    fn register(&self, poller: &mut Poller) -> io::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            poller.add(sys::raw(listener.handle()), LISTENER | index as u64, PollInterest::Accept)?;
        }
        Ok(())
    }

    /// Returns the number of listeners.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn paused_until(&self) -> Option<u64> {
        self.paused_until
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Pauses accepting until a time, in the service's milliseconds; with `u64::MAX`, until a connection closes.
    pub(super) fn pause(&mut self, poller: &mut Poller, until: u64) {
        if self.paused_until.is_none() {
            for listener in &self.listeners {
                let _ = poller.remove(sys::raw(listener.handle()));
            }
        }
        self.paused_until = Some(until);
    }

    fn resume(&mut self, poller: &mut Poller) {
        self.paused_until = None;
        // A listener that can't be registered accepts nothing more in this loop; other listeners and processes are not
        // affected.
        let _ = self.register(poller);
    }

    /// Makes a pause end at `now`, for example because a connection has closed.
    pub(super) fn end_pause_at(&mut self, now: u64) {
        if self.paused_until.is_some() {
            self.paused_until = Some(now);
        }
    }

    /// Returns how many connections to accept in a row when other processes accept from the same socket.
    ///
    /// If one process accepted all pending connections, it would keep them for their whole life while the others stay
    /// idle. So each process accepts one connection, and accepts the next one after it has answered a request. If no
    /// request has arrived within [`YIELD_FOR`], it accepts a few more, but not more than it can run at once.
    pub(super) fn share(&self, available_slots: usize) -> usize {
        if self.yielding {
            available_slots.clamp(1, ACCEPTS_IN_A_ROW / 8)
        } else {
            1
        }
    }

    /// Leaves the next connections to other processes, for [`YIELD_FOR`] or until a request has been answered.
    pub(super) fn start_yielding(&mut self, poller: &mut Poller, now: u64) {
        if !self.is_paused() {
            self.yielding = true;
            self.pause(poller, now + YIELD_FOR);
        }
    }

    /// Stops leaving connections to other processes: a request has been answered, so this process has time for another
    /// connection.
    #[inline]
    pub(super) fn end_yielding(&mut self, now: u64) {
        if self.yielding {
            self.yielding = false;
            self.end_pause_at(now);
        }
    }

    /// Pauses accepting while all threads of this process are busy, when other processes accept from the same socket.
    /// The system wakes only one of the waiting processes for a new connection, so a busy process must not be one of
    /// them. Returns true if the saturation is over; the caller then calls [`end_pause`](Acceptor::end_pause).
    pub(super) fn check_saturation(&mut self, poller: &mut Poller, available_slots: usize, now: u64) -> bool {
        if available_slots == 0 && !self.is_paused() && !self.listeners.is_empty() {
            self.saturated = true;
            self.left_to_others = 0;
            self.pause(poller, now + SATURATED_CHECK);
        }
        self.saturated && available_slots > 0
    }

    /// Resumes accepting after a pause, unless the process is still saturated. In that case the pause continues, and
    /// the function returns the listeners from which this process has to accept one connection because no other process
    /// does.
    pub(super) fn end_pause(&mut self, poller: &mut Poller, available_slots: usize, now: u64) -> Vec<usize> {
        self.saturated &= available_slots == 0;
        if !self.saturated {
            self.resume(poller);
            return Vec::new();
        }
        let pending: Vec<usize> = (0..self.listeners.len()).filter(|&index| self.has_pending(index)).collect();
        self.left_to_others = if pending.is_empty() { 0 } else { self.left_to_others + 1 };
        self.paused_until = Some(now + SATURATED_CHECK);
        if self.left_to_others < SATURATED_CHECKS {
            return Vec::new();
        }
        self.left_to_others = 0;
        pending
    }

    /// Whether a connection may be pending at a listener.
    pub(super) fn has_pending(&self, index: usize) -> bool {
        let Some(listener) = self.listeners.get(index) else { return false };
        sys::wait_for(listener.handle(), sys::Interest::Read, Duration::ZERO).unwrap_or(true)
    }

    /// Accepts one connection.
    pub(super) fn accept(&self, index: usize, service: &Service, now: u64) -> Accepted {
        let Some(listener) = self.listeners.get(index) else { return Accepted::Empty };
        let (socket, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Accepted::Empty,
                    // The client gave up before its connection was accepted.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
                        Accepted::Retry
                    }
                    // Linux looks for a free descriptor before it looks for a connection: with a full file table, it
                    // also reports this error when no connection is pending.
                    _ if matches!(sys::wait_for(listener.handle(), sys::Interest::Read, Duration::ZERO), Ok(false)) => {
                        Accepted::Empty
                    }
                    _ => Accepted::Failed(error),
                };
            }
        };
        let endpoint = listener.endpoint.clone();
        let socket = Arc::new(socket);
        let Some(connection) = Connection::accepted(service, &socket, endpoint, peer, now) else {
            return Accepted::Retry;
        };
        let connection = connection.with_proxies(service, &socket, ProxyOrigin::Unread);
        Accepted::Connection(socket, Box::new(connection))
    }

    /// Ends a pause in favour of other processes, before the last connections are accepted.
    pub(super) fn prepare_stop(&mut self) {
        if std::mem::take(&mut self.yielding) | std::mem::take(&mut self.saturated) {
            self.paused_until = None;
        }
    }

    /// Unregisters and drops this loop's listeners.
    pub(super) fn stop(&mut self, poller: &mut Poller) {
        for listener in std::mem::take(&mut self.listeners) {
            if self.paused_until.is_none() {
                let _ = poller.remove(sys::raw(listener.handle()));
            }
        }
        self.paused_until = None;
    }

    /// Drops the listeners without unregistering them: a forked process shares the poller with its parent.
    pub(super) fn forget(&mut self) {
        self.listeners.clear();
    }
}
