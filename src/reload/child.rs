//! The child's side: sockets from the supervisor, its orders, and connections in both directions.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use amboss_core::{Arrivals, Listeners, Server, ShutdownHandle, Waiting, WaitingBody};
use amboss_reload::child::Forked;
use amboss_reload::control::{Control, Message, RequestBody, Sender};
use amboss_reload::inherited::{leave_interrupts_to_the_supervisor, Inherited};
use amboss_reload::supervisor::Options;

use super::accepting::accept_all;
use super::page::ErrorPage;
use super::parent::drain_deadline;
use super::worker::ToSupervisor;
use crate::host::{Host, Worker};
use crate::live_reload::BuildId;
use crate::run::{make, RunError, RunOptions};

/// The variable by which a supervisor that was told to be live says so, with its own
/// [`start_timestamp`](crate::live_reload::start_timestamp).
pub(super) const LIVE: &str = "AMBOSS_LIVE";
/// Set by a supervisor that watches files.
pub(super) const RELOADING: &str = "AMBOSS_RELOADING";
/// Set by a supervisor that has several children beside each other.
pub(super) const MULTIPROCESS: &str = "AMBOSS_MULTIPROCESS";

/// What this process inherited from a supervisor, whose orders it follows from now on.
pub(crate) struct Child {
    listeners: Listeners,
    /// Sockets that belong to a program of another kind as well.
    shared: Vec<OwnedFd>,
    /// Whom the orders go to.
    orders: Option<Orders>,
    generation: u64,
}

impl Child {
    /// `None` when no supervisor started this process. To be asked once. With [`RunOptions::program`] the supervisor's
    /// program is another one, for which this process may have to speak.
    pub(crate) fn inherited(options: &RunOptions) -> io::Result<Option<Child>> {
        let Some(inherited) = Inherited::from_env()? else { return Ok(None) };
        let sockets = inherited.take_listeners()?;
        let (listeners, shared) = if options.program.is_some() {
            // A server listens somewhere, and this is where nobody connects.
            (Listeners::adopt([TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.into()])?, sockets)
        } else {
            (Listeners::adopt(sockets)?, Vec::new())
        };
        let orders = match inherited.take_control()? {
            Some(control) => {
                leave_interrupts_to_the_supervisor()?;
                Some(Orders::follow_from_now_on(control, options)?)
            }
            None => None,
        };
        Ok(Some(Child { listeners, shared, orders, generation: inherited.generation }))
    }

    /// This process is a copy of the supervisor's.
    pub(crate) fn forked(forked: Forked, options: &RunOptions) -> io::Result<Child> {
        let entered = forked.enter()?;
        // The supervisor's own may have been moved away since it was opened.
        options.reopen_logs.iter().for_each(|reopen| reopen());
        let listeners = Listeners::adopt(entered.listeners)?;
        let orders = Some(Orders::follow_from_now_on(entered.control, options)?);
        Ok(Child { listeners, shared: Vec::new(), orders, generation: entered.generation })
    }

    /// What serves here: the same for all children of one generation.
    fn build(&self) -> BuildId {
        let supervisor = std::env::var(LIVE).unwrap_or_else(|_| std::os::unix::process::parent_id().to_string());
        let id = format!("{supervisor}-{}", self.generation);
        BuildId { id, is_error_page: ErrorPage::is_wanted() }
    }

    /// Serves what the host has, or the page that stands in for it.
    pub(crate) fn serve(self, host: &mut impl Host, mut options: RunOptions) -> Result<(), RunError> {
        let is_set = |variable| std::env::var_os(variable).is_some();
        let sender = self.orders.as_ref().map(|orders| orders.sender.clone());
        let server_fd = self.listeners.as_fds().next().map(|socket| socket.as_raw_fd());
        let worker = Worker { supervisor: Some(ToSupervisor::new(sender, is_set(RELOADING))), server_fd };
        options.live |= is_set(LIVE);
        options.settings.multiprocess |= options.workers > 1 || is_set(MULTIPROCESS);
        let app = match ErrorPage::from_env() {
            Some(page) => Arc::new(page),
            None => {
                let app = host.application(&worker)?;
                host.configure(&mut options.settings)?;
                app
            }
        };
        let build = self.build();
        // The server alone has a hold on them: when it stops listening, this process does.
        let server = make(self.listeners, app, options, build)?;
        host.started(&server, &worker)?;
        let Some(orders) = self.orders else { return Ok(host.serve(server)?) };
        orders.now_to(&server);
        accept_all(self.shared, &server.arrivals(), &orders.sender)?;
        // Its sockets listen already: whoever connects from now on waits for the first turn of the loop at most.
        orders.sender.send(&Message::Ready)?;
        let served = host.serve(server);
        let _ = orders.sender.send(&Message::Drained);
        Ok(served?)
    }
}

/// The message by which a connection moves to another process.
pub(super) fn message_of(Waiting { socket, ahead, body }: Waiting) -> Message {
    let body = body.map(|body| RequestBody { file: body.file.into(), length: body.length });
    Message::Connection { socket: socket.into(), read: ahead, body }
}

/// How long a process without its supervisor goes on finishing: as long as that would have let it.
fn alone(options: &RunOptions) -> Duration {
    drain_deadline(options) + Options::default().kill_deadline
}

/// Does what the supervisor says.
#[derive(Clone)]
struct Orders {
    sender: Sender,
    /// None before there is one.
    server: Arc<Mutex<Option<Serving>>>,
}

struct Serving {
    handle: ShutdownHandle,
    arrivals: Arrivals,
}

impl Orders {
    /// Begins while the application is still on its way.
    fn follow_from_now_on(control: Control, options: &RunOptions) -> io::Result<Orders> {
        let orders = Orders { sender: control.sender(), server: Arc::default() };
        let (following, reopen_logs, alone) = (orders.clone(), options.reopen_logs.clone(), alone(options));
        let follow = move || following.follow(control, || reopen_logs.iter().for_each(|reopen| reopen()), alone);
        thread::Builder::new().name("amboss-orders".into()).spawn(follow)?;
        Ok(orders)
    }

    fn server(&self) -> MutexGuard<'_, Option<Serving>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on they concern this server.
    fn now_to(&self, server: &Server) {
        *self.server() = Some(Serving { handle: server.shutdown_handle(), arrivals: server.arrivals() });
    }

    /// `alone` is how long this process goes on without its supervisor.
    fn follow(&self, mut control: Control, reopen_logs: impl Fn(), alone: Duration) {
        loop {
            match control.receive() {
                Ok(Some(Message::Stop)) => self.server_to_stop().shutdown(),
                Ok(Some(Message::Drain)) => {
                    let sender = self.sender.clone();
                    self.server_to_stop().hand_over(move |waiting| {
                        // One that can't be sent is closed: the supervisor is gone.
                        let _ = sender.send(&message_of(waiting));
                    });
                }
                Ok(Some(connection @ Message::Connection { .. })) => self.let_in(connection),
                Ok(Some(Message::ReopenLogs)) => reopen_logs(),
                Ok(Some(_)) => {}
                // The supervisor is gone. Without it nobody would ever end this process, or let go of the port.
                Ok(None) | Err(_) => {
                    self.server_to_stop().shutdown();
                    thread::sleep(alone);
                    // What does not come back by itself would have been killed by now.
                    std::process::exit(1);
                }
            }
        }
    }

    /// While there is none, the application is on its way, and may be for long: nothing is lost by ending at once.
    fn server_to_stop(&self) -> ShutdownHandle {
        match &*self.server() {
            Some(serving) => serving.handle.clone(),
            None => std::process::exit(0),
        }
    }

    fn let_in(&self, connection: Message) {
        let Message::Connection { socket, read, body } = connection else { return };
        let body = body.map(|body| WaitingBody { file: body.file.into(), length: body.length });
        let waiting = Waiting { socket: socket.into(), ahead: read, body };
        let refused = match &*self.server() {
            Some(serving) => serving.arrivals.let_in(waiting).err(),
            None => Some(waiting),
        };
        if let Some(waiting) = refused {
            // This server stops as well: another one gets it then.
            let _ = self.sender.send(&message_of(waiting));
        }
    }
}
