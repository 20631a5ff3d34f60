//! The child's side: sockets from the supervisor, its orders, and connections in both directions.

use std::io;
use std::sync::Arc;
use std::thread;

use amboss_core::{Application, Arrivals, Listeners, ServeError, Server, ShutdownHandle, Waiting};
use amboss_reload::control::{Control, Message, Sender};
use amboss_reload::inherited::Inherited;

use super::page::ErrorPage;

/// What this process inherited from a supervisor.
pub(crate) struct Child {
    listeners: Listeners,
    control: Option<Control>,
}

impl Child {
    /// `None` when no supervisor started this process. To be asked once.
    pub(crate) fn inherited() -> io::Result<Option<Child>> {
        let Some(inherited) = Inherited::from_env()? else { return Ok(None) };
        // What this process starts is nobody's child of that kind.
        let listeners = Listeners::adopt(inherited.take_listeners()?)?;
        Ok(Some(Child { listeners, control: inherited.take_control()? }))
    }

    /// The sockets to serve on.
    pub(crate) fn listeners(&self) -> Listeners {
        self.listeners.clone()
    }

    /// The application, or what stands in for it.
    pub(crate) fn application(&self, app: Arc<dyn Application>) -> Arc<dyn Application> {
        match ErrorPage::from_env() {
            Some(page) => Arc::new(page),
            None => app,
        }
    }

    /// Serves, and does what the supervisor says meanwhile.
    pub(crate) fn serve(self, server: &mut Server, reopen_logs: impl Fn() + Send + 'static) -> Result<(), ServeError> {
        // The server has its own hold on them: when it stops listening, this process does.
        drop(self.listeners);
        let Some(control) = self.control else { return server.serve_forever() };
        let sender = control.sender();
        let orders = Orders { handle: server.shutdown_handle(), arrivals: server.arrivals(), sender: sender.clone() };
        thread::Builder::new().name("amboss-orders".into()).spawn(move || orders.follow(control, reopen_logs))?;
        // Its sockets listen already: whoever connects from now on waits for the first turn of the loop at most.
        sender.send(&Message::Ready)?;
        let served = server.serve_forever();
        let _ = sender.send(&Message::Drained);
        served
    }
}

struct Orders {
    handle: ShutdownHandle,
    arrivals: Arrivals,
    sender: Sender,
}

impl Orders {
    fn follow(self, mut control: Control, reopen_logs: impl Fn()) {
        loop {
            match control.receive() {
                Ok(Some(Message::Stop)) => self.handle.shutdown(),
                Ok(Some(Message::Drain)) => {
                    let sender = self.sender.clone();
                    self.handle.hand_over(move |Waiting { socket, ahead }| {
                        // A connection that can't be sent is closed: it is idle.
                        let _ = sender.send(&Message::Connection { socket: socket.into(), read: ahead });
                    });
                }
                Ok(Some(Message::Connection { socket, read })) => {
                    let waiting = Waiting { socket: socket.into(), ahead: read };
                    if let Err(Waiting { socket, ahead }) = self.arrivals.let_in(waiting) {
                        // This server stops as well: somebody else has it then.
                        let _ = self.sender.send(&Message::Connection { socket: socket.into(), read: ahead });
                    }
                }
                Ok(Some(Message::ReopenLogs)) => reopen_logs(),
                Ok(Some(_)) => {}
                // The supervisor is gone. Without it nobody would ever end this process, or let go of the port.
                Ok(None) | Err(_) => return self.handle.shutdown(),
            }
        }
    }
}
