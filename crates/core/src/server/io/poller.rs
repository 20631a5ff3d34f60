//! Waiting for many sockets: epoll on Linux and Android, poll(2) on all Unix systems, `WSAPoll` on Windows.
//!
//! Notification is level-triggered: input that is not read now is reported again. Epoll and poll have one interface here,
//! and tests run the server with both.

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
    ReadWrite,
    /// Only the end of the connection in both directions, or its reset, which the system always reports.
    HangUp,
    /// Connections to accept from a listener that several pollers watch. The system need not wake all of them
    /// (EPOLLEXCLUSIVE).
    Accept,
}

/// The system call that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PollerKind {
    /// epoll on Linux and Android, poll(2) or `WSAPoll` elsewhere.
    #[default]
    Auto,
    /// poll(2) or `WSAPoll`.
    Poll,
}

/// A set of watched descriptors. Each has a token, which [`wait`](Poller::wait) reports.
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

    /// Whether the poller drops a descriptor when its last copy is closed, without a call of [`remove`](Poller::remove).
    pub(crate) fn forgets_closed(&self) -> bool {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(_) => true,
            Poller::Poll(_) => false,
        }
    }

    /// Returns the descriptor that is readable while a watched descriptor is ready; `None` with poll(2), which has none.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Poller::Epoll(epoll) => Some(std::os::fd::AsFd::as_fd(&epoll.fd)),
            Poller::Poll(_) => None,
        }
    }

    /// Waits until a descriptor is ready, at most for `timeout` if there is one, and appends the tokens of all ready
    /// descriptors to `ready`.
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

/// The maximum number of events that one wait reports: the size of a batch, which bounds how long a response waits to be
/// written.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_EVENTS: usize = 64;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) struct Epoll {
    /// Declared before the descriptor, so that it is dropped before the descriptor closes.
    _fork_guard: ForkGuard,
    fd: std::os::fd::OwnedFd,
    events: Box<[sys::EpollEvent; MAX_EVENTS]>,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Epoll {
    fn new() -> io::Result<Epoll> {
        let fd = sys::epoll_new()?;
        let _fork_guard = ForkGuard::new(sys::raw(sys::handle(&fd)));
        Ok(Epoll { _fork_guard, fd, events: Box::new([sys::EpollEvent { events: 0, data: 0 }; MAX_EVENTS]) })
    }

    fn change(&mut self, operation: std::ffi::c_int, fd: Raw, token: u64, interest: PollInterest) -> io::Result<()> {
        use std::os::fd::AsFd;
        let events = match interest {
            PollInterest::Read => sys::EPOLLIN,
            PollInterest::Write => sys::EPOLLOUT,
            PollInterest::ReadWrite => sys::EPOLLIN | sys::EPOLLOUT,
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

/// The list of descriptors for poll(2). It is searched linearly, which is fast enough for the hundreds of connections of a
/// system without epoll.
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
            PollInterest::ReadWrite => sys::POLLIN | sys::POLLOUT,
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
