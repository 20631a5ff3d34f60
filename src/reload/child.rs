//! The child's side: sockets from the supervisor, its orders, and connections in both directions.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use amboss_core::{Application, Arrivals, Listeners, ServeError, Server, ShutdownHandle, Waiting};
use amboss_reload::control::{Control, Message, Sender};
use amboss_reload::inherited::{leave_interrupts_to_the_supervisor, Inherited};

use super::accepting::accept_all;
use super::page::ErrorPage;
use crate::live::Code;

/// The variable by which a supervisor that was told to be live says so, with its own [`stamp`](crate::live::stamp).
pub(super) const LIVE: &str = "AMBOSS_LIVE";

/// What this process inherited from a supervisor.
pub(crate) struct Child {
    listeners: Listeners,
    /// Sockets that belong to a program of another kind as well.
    shared: Vec<OwnedFd>,
    control: Option<Control>,
    generation: u64,
}

impl Child {
    /// `None` when no supervisor started this process. To be asked once. `for_others` says that the supervisor's program
    /// is another one, for which this process may have to speak.
    pub(crate) fn inherited(for_others: bool) -> io::Result<Option<Child>> {
        let Some(inherited) = Inherited::from_env()? else { return Ok(None) };
        let sockets = inherited.take_listeners()?;
        let (listeners, shared) = if for_others {
            // A server listens somewhere, and this is where nobody connects.
            (Listeners::adopt([TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.into()])?, sockets)
        } else {
            (Listeners::adopt(sockets)?, Vec::new())
        };
        let control = inherited.take_control()?;
        if control.is_some() {
            leave_interrupts_to_the_supervisor()?;
        }
        Ok(Some(Child { listeners, shared, control, generation: inherited.generation }))
    }

    /// Was the supervisor told that open pages are to load again?
    pub(crate) fn is_told_to_be_live(&self) -> bool {
        std::env::var_os(LIVE).is_some()
    }

    /// What serves here: the same for all children of one generation.
    pub(crate) fn code(&self) -> Code {
        let supervisor = std::env::var(LIVE).unwrap_or_else(|_| std::os::unix::process::parent_id().to_string());
        let id = format!("{supervisor}-{}", self.generation);
        Code { id, is_error_page: ErrorPage::is_wanted() }
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
        accept_all(self.shared, &server.arrivals(), &sender)?;
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
