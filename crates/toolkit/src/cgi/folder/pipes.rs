//! Waiting for the pipes of a script.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

/// The pipes that can be read or written without waiting, or that were closed by the script.
pub(super) struct Ready {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Waits until one of the pipes is ready, at most this long.
pub(super) fn wait(
    stdout: &ChildStdout,
    stderr: Option<&ChildStderr>,
    stdin: Option<&ChildStdin>,
    timeout: Duration,
) -> io::Result<Ready> {
    let pipe = |fd, flags| PollFd::from_borrowed_fd(fd, flags);
    let stderr = stderr.map(|stderr| pipe(stderr.as_fd(), PollFlags::IN));
    let stdin = stdin.map(|stdin| pipe(stdin.as_fd(), PollFlags::OUT));
    let (has_stderr, has_stdin) = (stderr.is_some(), stdin.is_some());
    let mut polled = vec![pipe(stdout.as_fd(), PollFlags::IN)];
    polled.extend(stderr.into_iter().chain(stdin));
    poll_for(&mut polled, timeout)?;
    let is_ready = |index: usize| !polled[index].revents().is_empty();
    Ok(Ready {
        stdout: is_ready(0),
        stderr: has_stderr && is_ready(1),
        stdin: has_stdin && is_ready(1 + usize::from(has_stderr)),
    })
}

/// Whether a pipe can be read, or is at its end, within this time.
pub(super) fn is_readable(pipe: &impl AsFd, timeout: Duration) -> bool {
    let fd: BorrowedFd<'_> = pipe.as_fd();
    poll_for(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timeout).is_ok_and(|ready| ready > 0)
}

/// Calls `poll(2)`. A signal ends the wait early.
fn poll_for(polled: &mut [PollFd<'_>], timeout: Duration) -> io::Result<usize> {
    let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
    match poll(polled, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        result => Ok(result?),
    }
}
