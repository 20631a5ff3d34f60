//! The messages, and their frames.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The length of tag and payload length, in bytes.
pub(super) const HEADER: usize = 5;

/// The maximum payload, in bytes. No server reads more ahead from a connection, and a list of files is split into
/// several messages.
pub(super) const MAX_PAYLOAD: usize = 128 * 1024;

/// A request body in a file.
#[derive(Debug)]
pub struct RequestBody {
    /// The file; the body is at its start.
    pub file: OwnedFd,
    /// The length of the body, in bytes.
    pub length: u64,
}

/// A message between supervisor and child.
///
/// A frame is a tag (one byte), the length of the payload (four bytes) and the payload, which has at most 128 KiB.
/// Numbers are big-endian. The descriptor of a connection is attached to the first byte of its frame, followed by the
/// descriptor of the request body, if there is one. Unknown tags are skipped, so either side may be newer.
///
/// | tag | direction | meaning |
/// |---|---|---|
/// | `R` | child → supervisor | ready: the child serves |
/// | `C` | both | a connection; the payload is what was read from it and not answered |
/// | `B` | both | the same, with the request body in a file; the payload begins with its length (eight bytes) |
/// | `P`, `Q` | both | `C` and `B`, with what is known about the client and a NUL in front of the payload |
/// | `D` | child → supervisor | drained: the child is about to exit |
/// | `F` | child → supervisor | files that the program consists of, as absolute paths separated by NUL |
/// | `X` | child → supervisor | replace this child: start another one, and when that is ready, send `H` |
/// | `L` | child → supervisor | the child stops of its own accord: start another one |
/// | `W` | child → supervisor | waits: the child is a spare that is prepared |
/// | `G` | supervisor → child | go: the spare becomes a worker of the generation in the payload (eight bytes) |
/// | `A` | child → supervisor | accepted: the spare starts as a worker |
/// | `S` | supervisor → child | stop: finish the running requests, then exit |
/// | `H` | supervisor → child | drain: stop accepting, finish the requests, hand idle connections back, send `D`, exit |
/// | `U` | supervisor → child | reopen the log files |
#[derive(Debug)]
#[non_exhaustive]
pub enum ControlMessage {
    /// The child serves.
    Ready,
    /// A connection for another process to serve.
    Connection {
        /// The connection.
        socket: OwnedFd,
        /// What is known about its client, in the words of the server: without NUL, and empty if nothing is known.
        client: String,
        /// What was read from it and not answered: at most 128 KiB, less eight bytes if there is a body, and
        /// less the length of `client` and one.
        read: Vec<u8>,
        /// The complete body of the request whose head is at the start of `read`, unless the body is in `read` as well.
        body: Option<RequestBody>,
    },
    /// The child has drained and is about to exit.
    Drained,
    /// Files to watch for the child, as absolute paths, in addition to those of earlier messages; see
    /// [`ControlMessage::files`].
    Files(Vec<PathBuf>),
    /// The child asks for a successor, and serves until it is told to [`Drain`](ControlMessage::Drain) because the
    /// successor is ready.
    ReplaceMe,
    /// The child is a [spare](crate::SupervisorOptions::spare) that is prepared.
    Waiting,
    /// The spare becomes a worker. It sends [`Accepted`](ControlMessage::Accepted), or exits if it is out of date.
    Start {
        /// The worker's generation.
        generation: u64,
    },
    /// The spare starts as a worker.
    Accepted,
    /// The child stops without an order, and the supervisor has to start another one in its place.
    Leaving,
    /// Finish the running requests, then exit.
    Stop,
    /// Stop accepting, finish the running requests, hand idle connections back, then send
    /// [`Drained`](ControlMessage::Drained) and exit. A child that gets this before it was
    /// [`Ready`](ControlMessage::Ready) is not needed any more.
    Drain,
    /// Reopen the log files.
    ReopenLogs,
}

impl ControlMessage {
    /// The messages that transmit a list of files. Paths that are relative, too long, or contain a NUL are left out.
    pub fn files(files: impl IntoIterator<Item = PathBuf>) -> impl Iterator<Item = ControlMessage> {
        let is_valid = |file: &PathBuf| {
            let bytes = file.as_os_str().as_bytes();
            file.is_absolute() && !bytes.contains(&0) && bytes.len() <= MAX_PAYLOAD
        };
        let mut files = files.into_iter().filter(is_valid).peekable();
        std::iter::from_fn(move || {
            let mut chunk: Vec<PathBuf> = Vec::new();
            let mut length = 0;
            while let Some(file) =
                files.next_if(|file| chunk.is_empty() || length + file.as_os_str().len() < MAX_PAYLOAD)
            {
                length += file.as_os_str().len() + 1;
                chunk.push(file);
            }
            (!chunk.is_empty()).then_some(ControlMessage::Files(chunk))
        })
    }

    fn tag(&self) -> u8 {
        match self {
            ControlMessage::Ready => b'R',
            ControlMessage::Connection { body, client, .. } => match (body.is_some(), client.is_empty()) {
                (false, true) => b'C',
                (true, true) => b'B',
                (false, false) => b'P',
                (true, false) => b'Q',
            },
            ControlMessage::Drained => b'D',
            ControlMessage::Files(_) => b'F',
            ControlMessage::ReplaceMe => b'X',
            ControlMessage::Waiting => b'W',
            ControlMessage::Start { .. } => b'G',
            ControlMessage::Accepted => b'A',
            ControlMessage::Leaving => b'L',
            ControlMessage::Stop => b'S',
            ControlMessage::Drain => b'H',
            ControlMessage::ReopenLogs => b'U',
        }
    }

    fn payload(&self) -> Cow<'_, [u8]> {
        match self {
            ControlMessage::Connection { read, body: None, client, .. } if client.is_empty() => Cow::Borrowed(read),
            ControlMessage::Connection { read, body, client, .. } => {
                let mut payload = Vec::with_capacity(client.len() + 1 + 8 + read.len());
                if !client.is_empty() {
                    payload.extend(client.bytes().chain([0]));
                }
                payload.extend(body.iter().flat_map(|body| body.length.to_be_bytes()));
                payload.extend(read);
                Cow::Owned(payload)
            }
            ControlMessage::Files(files) => {
                let files: Vec<&[u8]> = files.iter().map(|file| file.as_os_str().as_bytes()).collect();
                Cow::Owned(files.join(&0))
            }
            ControlMessage::Start { generation } => Cow::Owned(generation.to_be_bytes().to_vec()),
            _ => Cow::Borrowed(&[]),
        }
    }

    /// The descriptors of the message, in their order.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let both = match self {
            ControlMessage::Connection { socket, body, .. } => {
                [Some(socket.as_fd()), body.as_ref().map(|body| body.file.as_fd())]
            }
            _ => [None, None],
        };
        both.into_iter().flatten()
    }

    /// The bytes of the message's frame.
    ///
    /// # Errors
    /// The payload is too long.
    pub(super) fn to_frame(&self) -> io::Result<Vec<u8>> {
        let payload = self.payload();
        if payload.len() > MAX_PAYLOAD {
            let why = format!("a payload of {} bytes is too long; the maximum is {MAX_PAYLOAD}", payload.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.push(self.tag());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(&*payload);
        Ok(frame)
    }

    /// The message of a frame; `None` for an unknown tag, and for a connection whose descriptors did not arrive.
    pub(super) fn from_frame(tag: u8, payload: &[u8], descriptors: Vec<OwnedFd>) -> Option<ControlMessage> {
        let mut descriptors = descriptors.into_iter();
        Some(match tag {
            b'R' => ControlMessage::Ready,
            b'C' | b'B' | b'P' | b'Q' => {
                let (client, mut read) = match tag {
                    b'P' | b'Q' => {
                        let end = payload.iter().position(|byte| *byte == 0)?;
                        (&payload[..end], &payload[end + 1..])
                    }
                    _ => (&b""[..], payload),
                };
                let client = String::from_utf8(client.to_vec()).ok()?;
                let (socket, mut body) = (descriptors.next()?, None);
                if matches!(tag, b'B' | b'Q') {
                    let (length, rest) = read.split_first_chunk()?;
                    body = Some(RequestBody { file: descriptors.next()?, length: u64::from_be_bytes(*length) });
                    read = rest;
                }
                ControlMessage::Connection { socket, client, read: read.to_vec(), body }
            }
            b'D' => ControlMessage::Drained,
            b'F' => {
                let paths = payload.split(|byte| *byte == 0).map(|path| PathBuf::from(OsStr::from_bytes(path)));
                ControlMessage::Files(paths.filter(|path| path.is_absolute()).collect())
            }
            b'X' => ControlMessage::ReplaceMe,
            b'W' => ControlMessage::Waiting,
            b'G' => ControlMessage::Start { generation: u64::from_be_bytes(payload.try_into().ok()?) },
            b'A' => ControlMessage::Accepted,
            b'L' => ControlMessage::Leaving,
            b'S' => ControlMessage::Stop,
            b'H' => ControlMessage::Drain,
            b'U' => ControlMessage::ReopenLogs,
            _ => return None,
        })
    }
}
