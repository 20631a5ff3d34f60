//! Accepting on sockets that are shared with another program and may be blocking. The error page uses this in place of
//! a program that does not use amboss.
//!
//! Whether `accept` blocks is a property of the socket, which all processes share. If the error page changed it, it
//! would break the program that takes over, and vice versa. A thread therefore accepts in either mode, and passes the
//! connections to a server that listens elsewhere.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use amboss_core::{IdleConnection, Receiver, Socket};
use amboss_reload::ControlSender;

use super::orders::message_of;

/// How long the thread waits before it accepts again: on a socket that another program has made non-blocking, or after
/// an error.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

enum SharedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl SharedSocket {
    fn new(socket: OwnedFd) -> io::Result<SharedSocket> {
        let tcp = TcpListener::from(socket.try_clone()?);
        // std can read the address of a `TcpListener` only if the socket is an IP socket.
        if tcp.local_addr().is_ok() {
            return Ok(SharedSocket::Tcp(tcp));
        }
        Ok(SharedSocket::Unix(UnixListener::from(socket)))
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            SharedSocket::Tcp(listener) => listener.accept().map(|(stream, _)| stream.into()),
            SharedSocket::Unix(listener) => listener.accept().map(|(stream, _)| stream.into()),
        }
    }
}

/// Whether the client is still there: it may have left before its connection was accepted.
fn is_connected(socket: &Socket) -> bool {
    match socket {
        Socket::Tcp(stream) => stream.peer_addr().is_ok(),
        Socket::Unix(stream) => stream.peer_addr().is_ok(),
    }
}

/// Accepts on these sockets, each in a thread of its own, until the server stops. The first connection that arrives
/// after that is sent to the supervisor.
pub(super) fn accept_all(sockets: Vec<OwnedFd>, receiver: &Receiver, supervisor: &ControlSender) -> io::Result<()> {
    for socket in sockets {
        let (shared, receiver, supervisor) = (SharedSocket::new(socket)?, receiver.clone(), supervisor.clone());
        thread::Builder::new().name("amboss-accept".into()).spawn(move || loop {
            match shared.accept() {
                Ok(socket) => {
                    if let Err(refused) = receiver.adopt(IdleConnection::new(socket.into())) {
                        if !is_connected(&refused.socket) {
                            continue;
                        }
                        let _ = supervisor.send(&message_of(refused));
                        return;
                    }
                }
                Err(_) => thread::sleep(RETRY_INTERVAL),
            }
        })?;
    }
    Ok(())
}
