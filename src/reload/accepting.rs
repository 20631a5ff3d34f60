//! Accepting on sockets that another program shares and that may block: how the page stands in for a program that isn't
//! amboss's.
//!
//! Whether `accept` blocks is said of the socket, not of the process: a page that set it for itself would break the
//! program that takes over, and the other way round. So a thread of its own accepts here, blocked or not, and lets
//! connections into a server that listens elsewhere.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use amboss_core::{IdleConnection, Receiver};
use amboss_reload::ControlSender;

use super::child::message_of;

/// How long is waited on a socket on which somebody else has switched blocking off, and after an error.
const REST: Duration = Duration::from_millis(20);

/// One shared socket.
enum Shared {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Shared {
    fn new(socket: OwnedFd) -> io::Result<Shared> {
        let tcp = TcpListener::from(socket.try_clone()?);
        // Only one of its own family has an address that std can read.
        if tcp.local_addr().is_ok() {
            return Ok(Shared::Tcp(tcp));
        }
        Ok(Shared::Unix(UnixListener::from(socket)))
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Shared::Tcp(listener) => listener.accept().map(|(stream, _)| stream.into()),
            Shared::Unix(listener) => listener.accept().map(|(stream, _)| stream.into()),
        }
    }
}

/// Lets everybody in who connects, until the server stops; who comes then goes to the supervisor.
pub(super) fn accept_all(sockets: Vec<OwnedFd>, receiver: &Receiver, supervisor: &ControlSender) -> io::Result<()> {
    for socket in sockets {
        let (shared, receiver, supervisor) = (Shared::new(socket)?, receiver.clone(), supervisor.clone());
        thread::Builder::new().name("accepting".into()).spawn(move || loop {
            match shared.accept() {
                Ok(socket) => {
                    if let Err(waiting) = receiver.adopt(IdleConnection::new(socket.into())) {
                        let _ = supervisor.send(&message_of(waiting));
                        return;
                    }
                }
                Err(_) => thread::sleep(REST),
            }
        })?;
    }
    Ok(())
}
