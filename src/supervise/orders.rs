//! The supervisor's orders, as a worker follows them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::sync::lock;
use amboss_core::{IdleConnection, Receiver, Server, ShutdownHandle, StoredBody};
use amboss_reload::{ControlMessage, ControlSender, ControlSocket, RequestBody};

/// Called to reopen the logs.
pub(super) type ReopenLogs = Arc<dyn Fn() + Send + Sync>;

/// The message by which a connection moves to another process.
pub(super) fn message_of(IdleConnection { socket, read_ahead, body }: IdleConnection) -> ControlMessage {
    let body = body.map(|body| RequestBody { file: body.file.into(), length: body.length });
    ControlMessage::Connection { socket: socket.into(), read: read_ahead, body }
}

/// Follows the orders of the supervisor.
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
    /// Follows the orders from now on, while the application is still being loaded. `orphan_timeout` is how long this process
    /// goes on without its supervisor.
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

    /// Lets the orders concern this server.
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
                        // When it can't be sent, the supervisor is gone, and the connection is closed.
                        let _ = sender.send(&message_of(connection));
                    });
                }
                Ok(Some(connection @ ControlMessage::Connection { .. })) => self.adopt(connection),
                Ok(Some(ControlMessage::ReopenLogs)) => reopen_logs.iter().for_each(|reopen| reopen()),
                Ok(Some(_)) => {}
                // The supervisor is gone. Without it, nothing else would end this process, or free the port.
                Ok(None) | Err(_) => {
                    self.server_to_stop().shutdown();
                    thread::sleep(orphan_timeout);
                    // The supervisor would have killed this process by now.
                    std::process::exit(1);
                }
            }
        }
    }

    /// The server that an order to stop concerns. While the application is still being loaded, which may take long, nothing
    /// is lost if this process exits at once.
    fn server_to_stop(&self) -> ShutdownHandle {
        match &*self.server() {
            Some(server) => server.handle.clone(),
            None => std::process::exit(0),
        }
    }

    /// Serves a connection that another worker has handed over.
    fn adopt(&self, connection: ControlMessage) {
        let ControlMessage::Connection { socket, read, body } = connection else { return };
        let body = body.map(|body| StoredBody { file: body.file.into(), length: body.length });
        let connection = IdleConnection { socket: socket.into(), read_ahead: read, body };
        let refused = match &*self.server() {
            Some(server) => server.receiver.adopt(connection).err(),
            None => Some(connection),
        };
        if let Some(connection) = refused {
            // This server stops as well: the supervisor gives the connection to another one.
            let _ = self.sender.send(&message_of(connection));
        }
    }
}
