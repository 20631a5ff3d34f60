//! A worker's side of the control protocol: following the supervisor's orders.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::assemble::end_children;
use crate::sync::lock;
use amboss_core::{IdleConnection, ProxyOrigin, Receiver, Server, ShutdownHandle, StoredBody};
use amboss_reload::{ControlMessage, ControlSender, ControlSocket, RequestBody};

/// A function that reopens the logs.
pub(super) type ReopenLogs = Arc<dyn Fn() + Send + Sync>;

/// Returns the message that transfers a connection to another process.
pub(super) fn message_of(IdleConnection { socket, origin, read_ahead, body }: IdleConnection) -> ControlMessage {
    let body = body.map(|body| RequestBody { file: body.file.into(), length: body.length });
    ControlMessage::Connection { socket: socket.into(), client: origin_to_text(origin), read: read_ahead, body }
}

/// The words of the control protocol for what a PROXY header says.
const DIRECT: &str = "direct";
const UNKNOWN: &str = "unknown";

fn origin_to_text(origin: ProxyOrigin) -> String {
    match origin {
        ProxyOrigin::Unread => String::new(),
        ProxyOrigin::Direct => DIRECT.into(),
        ProxyOrigin::Client(address) => address.to_string(),
        _ => UNKNOWN.into(),
    }
}

fn origin_from_text(text: &str) -> ProxyOrigin {
    match text {
        "" => ProxyOrigin::Unread,
        DIRECT => ProxyOrigin::Direct,
        // An unknown client is never trusted.
        _ => text.parse().map_or(ProxyOrigin::Unknown, ProxyOrigin::Client),
    }
}

/// The connection to the supervisor, whose orders a thread of this process follows.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) sender: ControlSender,
    /// `None` until the application has been loaded.
    server: Arc<Mutex<Option<RunningServer>>>,
}

struct RunningServer {
    handle: ShutdownHandle,
    receiver: Receiver,
}

impl Orders {
    /// Starts the thread that follows the orders, even while the application is still being loaded. `orphan_timeout` is
    /// how long this process continues without its supervisor.
    pub(super) fn follow(
        control: ControlSocket,
        reopen_logs: Option<ReopenLogs>,
        orphan_timeout: Duration,
    ) -> io::Result<Orders> {
        let orders = Orders { sender: control.sender(), server: Arc::default() };
        let follower = orders.clone();
        let run = move || follower.run(control, reopen_logs, orphan_timeout);
        thread::Builder::new().name("amboss-orders".into()).spawn(run)?;
        Ok(orders)
    }

    fn server(&self) -> MutexGuard<'_, Option<RunningServer>> {
        lock(&self.server)
    }

    /// Sets the server that orders apply to.
    pub(super) fn set_server(&self, server: &Server) {
        *self.server() = Some(RunningServer { handle: server.shutdown_handle(), receiver: server.receiver() });
    }

    fn run(&self, mut control: ControlSocket, reopen_logs: Option<ReopenLogs>, orphan_timeout: Duration) {
        loop {
            match control.receive() {
                Ok(Some(ControlMessage::Stop)) => self.server_to_stop().shutdown(),
                Ok(Some(ControlMessage::Drain)) => {
                    let sender = self.sender.clone();
                    self.server_to_stop().hand_over(move |connection| {
                        // If sending fails, the supervisor has ended. The connection is then closed.
                        let _ = sender.send(&message_of(connection));
                    });
                }
                Ok(Some(connection @ ControlMessage::Connection { .. })) => self.adopt(connection),
                Ok(Some(ControlMessage::ReopenLogs)) => reopen_logs.iter().for_each(|reopen| reopen()),
                Ok(Some(_)) => {}
                // The supervisor has ended. Nothing else would end this process and free the port.
                Ok(None) | Err(_) => {
                    self.server_to_stop().shutdown();
                    thread::sleep(orphan_timeout);
                    // The supervisor would have killed this process by now.
                    end_children();
                    std::process::exit(1);
                }
            }
        }
    }

    /// Returns the server that an order to stop applies to. If the application is still being loaded, which may take
    /// long, exits the process at once: no request is lost.
    fn server_to_stop(&self) -> ShutdownHandle {
        match &*self.server() {
            Some(server) => server.handle.clone(),
            None => std::process::exit(0),
        }
    }

    /// Adds a connection that another worker has handed over to the server.
    fn adopt(&self, connection: ControlMessage) {
        let ControlMessage::Connection { socket, client, read, body } = connection else { return };
        let body = body.map(|body| StoredBody { file: body.file.into(), length: body.length });
        let origin = origin_from_text(&client);
        let connection = IdleConnection { socket: socket.into(), origin, read_ahead: read, body };
        let refused = match &*self.server() {
            Some(server) => server.receiver.adopt(connection).err(),
            None => Some(connection),
        };
        if let Some(connection) = refused {
            // This server is stopping, too, or there is none yet: the supervisor passes the connection to another
            // worker.
            let _ = self.sender.send(&message_of(connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_header_says_survives_the_transfer() {
        let client = |address: &str| ProxyOrigin::Client(address.parse().unwrap());
        for origin in [
            ProxyOrigin::Unread,
            ProxyOrigin::Direct,
            ProxyOrigin::Unknown,
            client("192.0.2.7:1"),
            client("[2001:db8::1]:65535"),
        ] {
            assert_eq!(origin_from_text(&origin_to_text(origin)), origin);
        }
        assert_eq!(origin_from_text("from the future"), ProxyOrigin::Unknown);
    }
}
