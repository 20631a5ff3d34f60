//! Reading frames from the stream, however it was cut, each with its own descriptors.
//!
//! A read never goes beyond the end of the frame, so all descriptors that arrive with it belong to that frame. A
//! connection is therefore never mistaken for another, however the system merges writes.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::message::{ControlMessage, HEADER, MAX_PAYLOAD};

/// The maximum number of descriptors of a frame.
const MAX_DESCRIPTORS: usize = 2;

/// The frame that is being read.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl FrameReader {
    /// The length of the frame, or of its header until that has arrived.
    fn length(&self) -> io::Result<usize> {
        let Some([_, length @ ..]) = self.bytes.first_chunk::<HEADER>() else { return Ok(HEADER) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_PAYLOAD {
            let why = format!("a frame of {length} bytes: the other process does not speak this protocol");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(HEADER + length)
    }

    /// Takes the frame if it is complete; `Some(None)` is a frame to skip.
    pub(super) fn take_frame(&mut self) -> io::Result<Option<Option<ControlMessage>>> {
        if self.bytes.len() < HEADER || self.bytes.len() < self.length()? {
            return Ok(None);
        }
        let FrameReader { bytes, descriptors } = std::mem::take(self);
        Ok(Some(ControlMessage::from_frame(bytes[0], &bytes[HEADER..], descriptors)))
    }

    /// Reads once. Returns false at the end of the stream.
    pub(super) fn fill(&mut self, stream: BorrowedFd<'_>) -> io::Result<bool> {
        let before = self.bytes.len();
        self.bytes.resize(self.length()?, 0);
        let result = self.read(stream, before);
        self.bytes.truncate(before + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(count) => Ok(count > 0),
            // The other process has ended without reading everything.
            Err(Errno::CONNRESET) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, stream: BorrowedFd<'_>, before: usize) -> rustix::io::Result<usize> {
        // Without this flag, a program that is started before FD_CLOEXEC is set would inherit the descriptor.
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
                if self.descriptors.len() < MAX_DESCRIPTORS {
                    self.descriptors.push(socket);
                }
            }
        }
        Ok(count)
    }

    /// The descriptors that have arrived with the frame so far.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd)
    }

    /// Called at the end of the stream, which is an error in the middle of a frame.
    pub(super) fn check_end(&self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process ended in the middle of a frame"))
    }
}
