//! Frames out of the stream, however it was cut, each with the descriptors that belong to it.
//!
//! No read goes beyond the frame that it is for, so whatever descriptors come with it are that frame's: nobody's
//! connection is ever taken for another's, whatever the system merges.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::{Message, HEADER, LONGEST_PAYLOAD};

/// The frame that is being read.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// A frame has no more descriptors than these.
const MOST_DESCRIPTORS: usize = 2;

impl Incoming {
    /// How many bytes the frame has, as far as that is known.
    fn length(&self) -> io::Result<usize> {
        let Some([_, length @ ..]) = self.bytes.first_chunk::<HEADER>() else { return Ok(HEADER) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST_PAYLOAD {
            let why = format!("a frame of {length} bytes: the other process does not speak this protocol");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(HEADER + length)
    }

    /// The frame, when it is whole; `Some(None)` is one to skip.
    pub(super) fn frame(&mut self) -> io::Result<Option<Option<Message>>> {
        if self.bytes.len() < HEADER || self.bytes.len() < self.length()? {
            return Ok(None);
        }
        let Incoming { bytes, descriptors } = std::mem::take(self);
        Ok(Some(Message::from_frame(bytes[0], &bytes[HEADER..], descriptors)))
    }

    /// Reads once; false at the end of the stream.
    pub(super) fn fill(&mut self, stream: BorrowedFd<'_>) -> io::Result<bool> {
        let before = self.bytes.len();
        self.bytes.resize(self.length()?, 0);
        let result = self.read(stream, before);
        self.bytes.truncate(before + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(count) => Ok(count > 0),
            // The other process has gone and left something unread.
            Err(Errno::CONNRESET) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, stream: BorrowedFd<'_>, before: usize) -> rustix::io::Result<usize> {
        // Where it can't be had at once, a program started meanwhile might inherit the descriptor for its life.
        #[cfg(not(target_vendor = "apple"))]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(target_vendor = "apple")]
        let flags = RecvFlags::empty();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            let mut pieces = [IoSliceMut::new(&mut self.bytes[before..])];
            match recvmsg(stream, &mut pieces, &mut ancillary, flags) {
                Err(Errno::INTR) => {}
                other => break other?.bytes,
            }
        };
        for message in ancillary.drain() {
            let RecvAncillaryMessage::ScmRights(sockets) = message else { continue };
            for socket in sockets {
                #[cfg(target_vendor = "apple")]
                rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
                if self.descriptors.len() < MOST_DESCRIPTORS {
                    self.descriptors.push(socket);
                }
            }
        }
        Ok(count)
    }

    /// What has come with it so far.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd)
    }

    /// What the end of the stream means: an error in the middle of a frame.
    pub(super) fn end(&self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process ended in the middle of a frame"))
    }
}
