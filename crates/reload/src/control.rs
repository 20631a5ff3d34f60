//! What supervisor and child say to each other, over a Unix stream socket.
//!
//! A frame is a tag (one byte), the payload's length (four bytes, big-endian) and the payload. The descriptor of a
//! connection rides on the first byte of its frame, with that of its request's body, if there is one, behind it.
//!
//! | tag | direction | meaning |
//! |---|---|---|
//! | `R` | child → supervisor | ready: it serves |
//! | `C` | both | a connection; the payload is what was read from it and not answered |
//! | `B` | both | the same with the body of its request in a file; the body's length (eight bytes, big-endian) comes first |
//! | `D` | child → supervisor | drained: about to exit |
//! | `F` | child → supervisor | files that it consists of; the payload is their absolute paths, with a NUL between two |
//! | `X` | child → supervisor | replace me: start another, and when that is ready, send me `H` |
//! | `S` | supervisor → child | stop: finish the running requests, then exit |
//! | `H` | supervisor → child | drain: stop accepting, finish what runs, hand idle connections back, then `D` and exit |
//! | `U` | supervisor → child | reopen the logs |
//!
//! Unknown tags are skipped, so that either side may be newer. The end of the stream means that the other side is gone:
//! for a child, the order to stop.
//!
//! A reading thread must never send, or two sides that send much at once wait for each other: read in a thread of its
//! own, and send from others through a [`Sender`].

mod receive;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use receive::Incoming;

/// The longest payload, in bytes: more has nobody read from a connection ahead of its answer, and files can be said in
/// several messages.
pub const LONGEST_PAYLOAD: usize = 128 * 1024;

/// How long sending waits for the other side to read. It reads at once unless it hangs.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

const HEADER: usize = 5;

/// The body of a request, in a file.
#[derive(Debug)]
pub struct RequestBody {
    /// The file, in which the body is the first bytes.
    pub file: OwnedFd,
    /// How many, in bytes.
    pub length: u64,
}

/// One thing said.
#[derive(Debug)]
#[non_exhaustive]
pub enum Message {
    /// The child serves.
    Ready,
    /// A connection for somebody else to serve.
    Connection {
        /// The connection.
        socket: OwnedFd,
        /// What was read from it and not answered, at most [`LONGEST_PAYLOAD`] bytes, less eight with a body.
        read: Vec<u8>,
        /// The complete body of the request whose head `read` begins with, if that is not in `read`.
        body: Option<RequestBody>,
    },
    /// The child has drained and is about to exit.
    Drained,
    /// Files to watch for the child, as absolute paths; see [`Message::files`]. Those that were said before stay.
    Files(Vec<PathBuf>),
    /// The child wants a successor, and to be told to [`Drain`](Message::Drain) when that is ready. Until then it serves.
    ReplaceMe,
    /// The child stops, and that is not the end of the whole: another is to take its place.
    Leaving,
    /// Finish the running requests, then exit.
    Stop,
    /// Stop accepting, finish what runs, hand idle connections back, then say [`Drained`](Message::Drained) and exit. It
    /// may come before the child was [`Ready`](Message::Ready): then it is not wanted any more.
    Drain,
    /// Reopen the log files.
    ReopenLogs,
}

impl Message {
    /// As many messages as it takes to say these files: all that are absolute and can be files of this system.
    pub fn files(files: impl IntoIterator<Item = PathBuf>) -> impl Iterator<Item = Message> {
        let sayable = |file: &PathBuf| {
            let bytes = file.as_os_str().as_bytes();
            file.is_absolute() && !bytes.contains(&0) && bytes.len() <= LONGEST_PAYLOAD
        };
        let mut files = files.into_iter().filter(sayable).peekable();
        std::iter::from_fn(move || {
            let mut some: Vec<PathBuf> = Vec::new();
            let mut length = 0;
            while let Some(file) =
                files.next_if(|file| some.is_empty() || length + file.as_os_str().len() < LONGEST_PAYLOAD)
            {
                length += file.as_os_str().len() + 1;
                some.push(file);
            }
            (!some.is_empty()).then_some(Message::Files(some))
        })
    }

    fn tag(&self) -> u8 {
        match self {
            Message::Ready => b'R',
            Message::Connection { body: None, .. } => b'C',
            Message::Connection { body: Some(_), .. } => b'B',
            Message::Drained => b'D',
            Message::Files(_) => b'F',
            Message::ReplaceMe => b'X',
            Message::Leaving => b'L',
            Message::Stop => b'S',
            Message::Drain => b'H',
            Message::ReopenLogs => b'U',
        }
    }

    fn payload(&self) -> Cow<'_, [u8]> {
        match self {
            Message::Connection { read, body: None, .. } => Cow::Borrowed(read),
            Message::Connection { read, body: Some(body), .. } => {
                Cow::Owned([&body.length.to_be_bytes()[..], read].concat())
            }
            Message::Files(files) => {
                let files: Vec<&[u8]> = files.iter().map(|file| file.as_os_str().as_bytes()).collect();
                Cow::Owned(files.join(&0))
            }
            _ => Cow::Borrowed(&[]),
        }
    }

    /// The descriptors that go with it, in their order.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let both = match self {
            Message::Connection { socket, body, .. } => {
                [Some(socket.as_fd()), body.as_ref().map(|body| body.file.as_fd())]
            }
            _ => [None, None],
        };
        both.into_iter().flatten()
    }

    /// `None` for a tag of another version, or for a connection whose descriptors did not make it.
    fn from_frame(tag: u8, payload: &[u8], descriptors: Vec<OwnedFd>) -> Option<Message> {
        let mut descriptors = descriptors.into_iter();
        Some(match tag {
            b'R' => Message::Ready,
            b'C' => Message::Connection { socket: descriptors.next()?, read: payload.to_vec(), body: None },
            b'B' => {
                let (length, read) = payload.split_first_chunk()?;
                let (socket, file) = (descriptors.next()?, descriptors.next()?);
                let body = Some(RequestBody { file, length: u64::from_be_bytes(*length) });
                Message::Connection { socket, read: read.to_vec(), body }
            }
            b'D' => Message::Drained,
            b'F' => {
                let paths = payload.split(|byte| *byte == 0).map(|path| PathBuf::from(OsStr::from_bytes(path)));
                Message::Files(paths.filter(|path| path.is_absolute()).collect())
            }
            b'X' => Message::ReplaceMe,
            b'L' => Message::Leaving,
            b'S' => Message::Stop,
            b'H' => Message::Drain,
            b'U' => Message::ReopenLogs,
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Wire {
    stream: UnixStream,
    /// Frames of several threads don't mix.
    sending: Mutex<()>,
    patience: Duration,
}

/// One end of the socket: the one reader of it.
#[derive(Debug)]
pub struct Control {
    wire: Arc<Wire>,
    incoming: Incoming,
}

/// Sends to the other side; for any number of threads.
#[derive(Clone, Debug)]
pub struct Sender {
    wire: Arc<Wire>,
}

/// A sender that doesn't keep the socket open.
#[derive(Debug)]
pub(crate) struct WeakSender {
    wire: Weak<Wire>,
}

/// What one read has brought.
pub(crate) enum Step {
    Message(Message),
    /// Part of one, or one to skip.
    More,
    End,
}

impl Control {
    /// Speaks over a connected, blocking stream socket.
    ///
    /// # Errors
    /// When no time-out can be set on it.
    pub fn new(stream: UnixStream) -> io::Result<Control> {
        Control::with_patience(stream, WRITE_TIMEOUT)
    }

    fn with_patience(stream: UnixStream, patience: Duration) -> io::Result<Control> {
        stream.set_write_timeout(Some(patience))?;
        let wire = Arc::new(Wire { stream, sending: Mutex::new(()), patience });
        Ok(Control { wire, incoming: Incoming::default() })
    }

    /// For the threads that send.
    pub fn sender(&self) -> Sender {
        Sender { wire: self.wire.clone() }
    }

    /// As [`Sender::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        self.wire.send(message)
    }

    /// Waits for the next message; `None` when the other side is gone.
    ///
    /// # Errors
    /// Bytes that no frame begins with, a stream that ends within a frame, or what reading fails with.
    pub fn receive(&mut self) -> io::Result<Option<Message>> {
        loop {
            match self.step()? {
                Step::Message(message) => return Ok(Some(message)),
                Step::More => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Waits until a step will not have to wait.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut sockets = [PollFd::new(&self.wire.stream, PollFlags::IN)];
        while let Err(error) = poll(&mut sockets, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Reads once, and never beyond a message.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if !self.incoming.fill(self.wire.stream.as_fd())? {
            return self.incoming.end().map(|()| Step::End);
        }
        Ok(match self.incoming.frame()? {
            Some(Some(message)) => Step::Message(message),
            _ => Step::More,
        })
    }

    /// The descriptors that have come with a part of a message.
    pub(crate) fn arriving(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.incoming.descriptors()
    }
}

impl Sender {
    /// Sends one message, and waits at most [`WRITE_TIMEOUT`] for the other side to make room.
    ///
    /// A connection stays open until both the message and what the other side received are closed: drop the message
    /// when it was sent.
    ///
    /// # Errors
    /// When the other side is gone (`BrokenPipe`), hangs (`TimedOut`), or the payload is longer than
    /// [`LONGEST_PAYLOAD`] (`InvalidInput`).
    pub fn send(&self, message: &Message) -> io::Result<()> {
        self.wire.send(message)
    }

    pub(crate) fn downgrade(&self) -> WeakSender {
        WeakSender { wire: Arc::downgrade(&self.wire) }
    }

    /// Ends the conversation, for both sides and at once; the reader of this side sees the end, too.
    pub fn close(&self) {
        let _ = self.wire.stream.shutdown(Shutdown::Both);
    }
}

impl WeakSender {
    /// `None` when the socket is closed.
    pub(crate) fn upgrade(&self) -> Option<Sender> {
        self.wire.upgrade().map(|wire| Sender { wire })
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.stream.as_fd()
    }
}

impl Wire {
    fn send(&self, message: &Message) -> io::Result<()> {
        let payload = message.payload();
        if payload.len() > LONGEST_PAYLOAD {
            let why = format!("{} bytes are more than one message may have", payload.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.push(message.tag());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(&*payload);
        let descriptors: Vec<BorrowedFd<'_>> = message.descriptors().collect();
        let _alone = self.sending.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.send_frame(&frame, &descriptors)
    }

    fn send_frame(&self, frame: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let deadline = Instant::now() + self.patience;
        let mut sent = 0;
        while sent < frame.len() {
            let result = match sent {
                1.. if Instant::now() >= deadline => Err(Errno::AGAIN),
                _ => send_some(&self.stream, &frame[sent..], descriptors),
            };
            match result {
                Ok(count) => {
                    sent += count;
                    // They ride on the first byte alone.
                    descriptors = &[];
                }
                Err(Errno::INTR) => {}
                // Too many descriptors are on their way, or the system has no buffers: the other side is at it.
                Err(Errno::TOOMANYREFS | Errno::NOBUFS) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => {
                    if sent > 0 {
                        // Half a frame: nothing after it could be understood.
                        let _ = self.stream.shutdown(Shutdown::Both);
                    }
                    return Err(match error {
                        Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS => {
                            io::Error::new(io::ErrorKind::TimedOut, "the other process does not read what it is told")
                        }
                        error => error.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn send_some(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    // A peer that is gone is an error here, not a signal. Apple's systems have no such flag; Rust ignores the signal.
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
