//! Waiting for many sockets at once: epoll on Linux, poll(2) on every Unix system, WSAPoll on Windows.
//!
//! Level-triggered: what is not read now is reported again. Both speak the same interface, and tests run the server
//! with both.

use std::io;
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::fork_guard::ForkGuard;
use crate::server::sys::{self, Raw};

/// What the poller watches a descriptor for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollInterest {
    Read,
    Write,
    /// That the connection has ended in both directions, or was reset: what the system tells unasked.
    HangUp,
    /// Connections to accept, where several pollers wait for the same listener and one of them is enough.
    Accept,
}

/// Which system call waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub enum PollerKind {
    /// epoll where there is one, poll elsewhere.
    #[default]
    Auto,
    /// poll(2), everywhere.
    Poll,
}

pub(crate) enum Poller {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Epoll(Epoll),
    Poll(Poll),
}

impl Poller {
    pub(crate) fn new(kind: PollerKind) -> io::Result<Poller> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if kind == PollerKind::Auto {
            return Ok(Poller::Epoll(Epoll::new()?));
        }
        let _ = kind;
        Ok(Poller::Poll(Poll::default()))
    }

    pub(crate) fn add(&mut self, fd: Raw, token: u64, interest: PollInterest) -> io::Result<()> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(epoll) => epoll.change(sys::CTL_ADD, fd, token, interest),
            Poller::Poll(poll) => {
                poll.add(fd, token, interest);
                Ok(())
            }
        }
    }

    pub(crate) fn modify(&mut self, fd: Raw, token: u64, interest: PollInterest) -> io::Result<()> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(epoll) => epoll.change(sys::CTL_MOD, fd, token, interest),
            Poller::Poll(poll) => {
                poll.remove(fd);
                poll.add(fd, token, interest);
                Ok(())
            }
        }
    }

    pub(crate) fn remove(&mut self, fd: Raw) -> io::Result<()> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(epoll) => epoll.change(sys::CTL_DEL, fd, 0, PollInterest::Read),
            Poller::Poll(poll) => {
                poll.remove(fd);
                Ok(())
            }
        }
    }

    /// Does closing a descriptor's last copy end the interest in it?
    pub(crate) fn forgets_closed(&self) -> bool {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(_) => true,
            Poller::Poll(_) => false,
        }
    }

    /// Appends the tokens of what became ready to `ready`. Waits at most `timeout`, for ever without one.
    pub(crate) fn wait(&mut self, ready: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        let result = match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(epoll) => epoll.wait(ready, timeout),
            Poller::Poll(poll) => poll.wait(ready, timeout),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}

/// How many events are taken at once: the size of a batch, and so a bound on how long an answer waits to be written.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BATCH: usize = 64;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) struct Epoll {
    /// Declared before the descriptor, so that it is dropped before that closes.
    _fork_guard: ForkGuard,
    fd: std::os::fd::OwnedFd,
    events: Box<[sys::EpollEvent; BATCH]>,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Epoll {
    fn new() -> io::Result<Epoll> {
        let fd = sys::epoll_new()?;
        let _fork_guard = ForkGuard::new(sys::raw(sys::handle(&fd)));
        Ok(Epoll { _fork_guard, fd, events: Box::new([sys::EpollEvent { events: 0, data: 0 }; BATCH]) })
    }

    fn change(&mut self, operation: std::ffi::c_int, fd: Raw, token: u64, interest: PollInterest) -> io::Result<()> {
        use std::os::fd::AsFd;
        let events = match interest {
            PollInterest::Read => sys::EPOLLIN,
            PollInterest::Write => sys::EPOLLOUT,
            PollInterest::HangUp => 0,
            PollInterest::Accept => sys::EPOLLIN | sys::EPOLLEXCLUSIVE,
        };
        sys::epoll_change(self.fd.as_fd(), operation, fd, events, token)
    }

    fn wait(&mut self, ready: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        use std::os::fd::AsFd;
        let count = sys::epoll_ready(self.fd.as_fd(), &mut self.events[..], timeout)?;
        ready.extend(self.events[..count].iter().map(|event| event.data));
        Ok(())
    }
}

/// A flat list for poll(2), searched linearly: fine for the hundreds of connections of a system without epoll.
#[derive(Default)]
pub(crate) struct Poll {
    fds: Vec<sys::PollFd>,
    tokens: Vec<u64>,
}

impl Poll {
    fn add(&mut self, fd: Raw, token: u64, interest: PollInterest) {
        let events = match interest {
            PollInterest::Read | PollInterest::Accept => sys::POLLIN,
            PollInterest::Write => sys::POLLOUT,
            PollInterest::HangUp => 0,
        };
        self.fds.push(sys::PollFd { fd, events, revents: 0 });
        self.tokens.push(token);
    }

    fn remove(&mut self, fd: Raw) {
        if let Some(index) = self.fds.iter().position(|polled| polled.fd == fd) {
            self.fds.swap_remove(index);
            self.tokens.swap_remove(index);
        }
    }

    fn wait(&mut self, ready: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        sys::poll_many(&mut self.fds, timeout)?;
        let tokens = self.fds.iter().zip(&self.tokens).filter(|(polled, _)| polled.revents != 0);
        ready.extend(tokens.map(|(_, &token)| token));
        Ok(())
    }
}
