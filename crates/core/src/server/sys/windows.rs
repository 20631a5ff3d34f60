//! System calls of Windows: `WSAPoll` instead of poll(2), and a pair of loopback connections instead of a socket pair.

use std::ffi::{c_int, c_short};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawSocket, AsSocket};
use std::path::Path;
use std::time::Duration;

use super::ffi::{check, milliseconds};

pub(in crate::server) use std::os::windows::io::{BorrowedSocket as Handle, RawSocket as Raw};

/// Borrows the socket of a value.
pub(in crate::server) fn handle(of: &impl AsSocket) -> Handle<'_> {
    of.as_socket()
}

/// Returns the number of a socket.
pub(in crate::server) fn raw(handle: Handle<'_>) -> Raw {
    handle.as_raw_socket()
}

/// One of two connected streams, for the waker.
pub(in crate::server) type Pair = TcpStream;

/// Makes two connected streams.
pub(in crate::server) fn pair() -> io::Result<(Pair, Pair)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    loop {
        // Other programs on this machine can connect as well, so the peer has to be compared.
        let (far, peer) = listener.accept()?;
        if peer == near.local_addr()? {
            far.set_nodelay(true)?;
            return Ok((near, far));
        }
    }
}

/// `WSAPOLLFD`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(in crate::server) struct PollFd {
    pub fd: Raw,
    pub events: c_short,
    pub revents: c_short,
}

/// `POLLRDNORM`, because `WSAPoll` rejects the bit for urgent data that `POLLIN` contains.
pub(in crate::server) const POLLIN: c_short = 0x100;
/// `POLLWRNORM`.
pub(in crate::server) const POLLOUT: c_short = 0x10;
/// Zero: Windows reports errors and closed connections without being asked.
pub(in crate::server) const POLLRDHUP: c_short = 0;

#[link(name = "ws2_32")]
extern "system" {
    #[link_name = "WSAPoll"]
    fn poll(fds: *mut PollFd, count: u32, timeout: c_int) -> c_int;
    fn listen(socket: Raw, backlog: c_int) -> c_int;
    fn setsockopt(socket: Raw, level: c_int, name: c_int, value: *const u8, length: c_int) -> c_int;
}

/// Waits until one of `fds` is ready, at most for `timeout` if there is one. Returns how many are ready.
pub(in crate::server) fn poll_many(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
    // SAFETY: pointer and count describe one mutable slice, in which the system writes only the `revents` fields.
    let ready = check(unsafe { poll(fds.as_mut_ptr(), fds.len() as u32, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// Sets the length of the queue of connections that wait to be accepted; std has no setting for it.
pub(in crate::server) fn set_backlog(socket: Handle<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    check(unsafe { listen(socket.as_raw_socket(), backlog) }).map(drop)
}

/// Makes the close of this socket a reset instead of an orderly end (SO_LINGER with zero seconds).
pub(in crate::server) fn reset_on_close(socket: Handle<'_>) -> io::Result<()> {
    const SOL_SOCKET: c_int = 0xffff;
    const SO_LINGER: c_int = 0x80;
    // `struct linger`: on, zero seconds.
    let linger: [u16; 2] = [1, 0];
    let length = size_of_val(&linger) as c_int;
    // SAFETY: `length` is the size of `linger`, which the system only reads and which outlives the call.
    check(unsafe { setsockopt(socket.as_raw_socket(), SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), length) })
        .map(drop)
}

/// Reads from a file at an offset, whatever the file's position is.
pub(in crate::server) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Writes to a file at an offset, whatever the file's position is.
pub(in crate::server) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Creates a file that only this process can open: it is not shared, and it is deleted when its last handle is closed.
/// Fails if `path` exists.
pub(in crate::server) fn create_unlinked(path: &Path) -> io::Result<File> {
    const GENERIC_READ_WRITE: u32 = 0xc000_0000;
    const DELETE: u32 = 0x0001_0000;
    const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
    const FILE_ATTRIBUTE_TEMPORARY: u32 = 0x0000_0100;
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .access_mode(GENERIC_READ_WRITE | DELETE)
        .share_mode(0)
        .custom_flags(FILE_FLAG_DELETE_ON_CLOSE)
        .attributes(FILE_ATTRIBUTE_TEMPORARY)
        .open(path)
}
