//! The two ends of the control socket.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::frame_reader::FrameReader;
use super::message::ControlMessage;
use crate::sync::lock;

/// How long a sender waits for the other side to read (5 s). The other side reads at once unless it hangs.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a sender waits when the system is out of buffers or descriptors in flight (2 ms), before it tries again.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// The stream that the reader and all senders share.
#[derive(Debug)]
pub(super) struct SharedStream {
    pub(super) stream: UnixStream,
    /// Locked while a frame is sent, so that the frames of several threads do not mix.
    sending: Mutex<()>,
    timeout: Duration,
}

/// One end of the control socket, a Unix stream socket. It is the only reader of that end.
///
/// The end of the stream means that the other side is gone; a child then stops.
///
/// A thread that reads must never send. Otherwise two sides that both send a lot would wait for each other. Read in a
/// separate thread, and send from other threads through a [`ControlSender`].
#[derive(Debug)]
pub struct ControlSocket {
    pub(super) shared: Arc<SharedStream>,
    reader: FrameReader,
}

/// Sends messages to the other side. May be cloned for any number of threads.
#[derive(Clone, Debug)]
pub struct ControlSender {
    shared: Arc<SharedStream>,
}

/// A sender that does not keep the socket open.
#[derive(Debug)]
pub(crate) struct WeakControlSender {
    shared: Weak<SharedStream>,
}

/// The result of one read.
pub(crate) enum Received {
    Message(ControlMessage),
    /// A part of a message, or a message to skip.
    Incomplete,
    /// The other side is gone.
    Closed,
}

impl ControlSocket {
    /// Wraps a connected, blocking stream socket.
    ///
    /// # Errors
    /// No timeout can be set on the socket.
    pub fn new(stream: UnixStream) -> io::Result<ControlSocket> {
        ControlSocket::with_write_timeout(stream, WRITE_TIMEOUT)
    }

    pub(super) fn with_write_timeout(stream: UnixStream, timeout: Duration) -> io::Result<ControlSocket> {
        stream.set_write_timeout(Some(timeout))?;
        let shared = Arc::new(SharedStream { stream, sending: Mutex::new(()), timeout });
        Ok(ControlSocket { shared, reader: FrameReader::default() })
    }

    /// A sender for other threads.
    pub fn sender(&self) -> ControlSender {
        ControlSender { shared: self.shared.clone() }
    }

    /// Sends one message, as [`ControlSender::send`] does.
    ///
    /// # Errors
    /// As for [`ControlSender::send`].
    pub fn send(&self, message: &ControlMessage) -> io::Result<()> {
        self.shared.send(message)
    }

    /// Waits for the next message; `None` when the other side is gone.
    ///
    /// # Errors
    /// The bytes are no frame, the stream ends within a frame, or reading fails.
    pub fn receive(&mut self) -> io::Result<Option<ControlMessage>> {
        loop {
            match self.read_once()? {
                Received::Message(message) => return Ok(Some(message)),
                Received::Incomplete => {}
                Received::Closed => return Ok(None),
            }
        }
    }

    /// Waits until [`read_once`](ControlSocket::read_once) does not have to wait.
    pub(crate) fn wait_readable(&self) -> io::Result<()> {
        self.shared.wait_readable()
    }

    /// Reads once, and never beyond the end of a message.
    pub(crate) fn read_once(&mut self) -> io::Result<Received> {
        if !self.reader.fill(self.shared.stream.as_fd())? {
            return self.reader.check_end().map(|()| Received::Closed);
        }
        Ok(match self.reader.take_frame()? {
            Some(Some(message)) => Received::Message(message),
            _ => Received::Incomplete,
        })
    }

    /// The descriptors that have arrived with an incomplete message.
    pub(crate) fn partial_descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.reader.descriptors()
    }
}

impl ControlSender {
    /// Sends one message. Waits at most five seconds for the other side to read.
    ///
    /// A connection stays open until both the message and what the other side received are closed, so drop the message
    /// once it is sent.
    ///
    /// # Errors
    /// The other side is gone (`BrokenPipe`) or hangs (`TimedOut`), or the payload exceeds 128 KiB (`InvalidInput`).
    pub fn send(&self, message: &ControlMessage) -> io::Result<()> {
        self.shared.send(message)
    }

    /// Waits until the other side has sent something, or is gone.
    ///
    /// # Errors
    /// The system can't wait.
    pub fn wait_for_input(&self) -> io::Result<()> {
        self.shared.wait_readable()
    }

    pub(crate) fn downgrade(&self) -> WeakControlSender {
        WeakControlSender { shared: Arc::downgrade(&self.shared) }
    }

    /// Shuts the socket down for both sides at once; the reader of this side sees the end of the stream, too.
    pub(crate) fn close(&self) {
        let _ = self.shared.stream.shutdown(Shutdown::Both);
    }
}

impl WeakControlSender {
    /// The sender; `None` when the socket is closed.
    pub(crate) fn upgrade(&self) -> Option<ControlSender> {
        self.shared.upgrade().map(|shared| ControlSender { shared })
    }
}

impl AsFd for ControlSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.stream.as_fd()
    }
}

impl SharedStream {
    fn wait_readable(&self) -> io::Result<()> {
        let mut sockets = [PollFd::new(&self.stream, PollFlags::IN)];
        while let Err(error) = poll(&mut sockets, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn send(&self, message: &ControlMessage) -> io::Result<()> {
        let frame = message.to_frame()?;
        let descriptors: Vec<BorrowedFd<'_>> = message.descriptors().collect();
        let _sending = lock(&self.sending);
        self.send_frame(&frame, &descriptors)
    }

    fn send_frame(&self, frame: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let deadline = Instant::now() + self.timeout;
        let mut sent = 0;
        while sent < frame.len() {
            let result = match sent {
                1.. if Instant::now() >= deadline => Err(Errno::AGAIN),
                _ => send_some(&self.stream, &frame[sent..], descriptors),
            };
            match result {
                Ok(count) => {
                    sent += count;
                    // They are attached to the first byte only.
                    descriptors = &[];
                }
                Err(Errno::INTR) => {}
                // Too many descriptors are in flight, or the system has no buffers. Try again: the other side frees
                // them by reading.
                Err(Errno::TOOMANYREFS | Errno::NOBUFS) if Instant::now() < deadline => {
                    std::thread::sleep(RETRY_INTERVAL);
                }
                Err(error) => {
                    if sent > 0 {
                        // After half a frame, nothing that follows could be understood.
                        let _ = self.stream.shutdown(Shutdown::Both);
                    }
                    return Err(match error {
                        Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS => io::Error::new(
                            io::ErrorKind::TimedOut,
                            "the other process does not read its control socket",
                        ),
                        error => error.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

pub(super) fn send_some(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    // A peer that is gone must be an error, not a signal. Apple's systems have no such flag; there Rust ignores
    // SIGPIPE.
    #[cfg(not(target_vendor = "apple"))]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    let flags = SendFlags::empty();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, flags)
}
