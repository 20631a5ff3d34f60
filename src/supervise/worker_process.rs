//! A worker process: it takes over the supervisor's sockets, loads and serves the application, and reports when it is
//! ready and when it is drained.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amboss_core::{Application, Listeners, LocalAddr};
use amboss_reload::{ignore_interrupts, ControlMessage, ControlSender, Forked, Inherited, SupervisorOptions};

use super::error_page::ErrorPage;
use super::orders::Orders;
use super::shared_sockets::accept_all;
use super::spare;
use super::variables;
use crate::app_loader::AppLoader;
use crate::assemble::{assemble_server, load_app, serve};
use crate::banner::guest_line;
use crate::error::RunError;
use crate::launch_plan::LaunchPlan;
use crate::live_reload::BuildId;
use crate::options::RunOptions;
use crate::worker::Worker;

/// The sockets and orders that this process has received from a supervisor.
pub(crate) struct WorkerProcess {
    listeners: Listeners,
    /// Sockets that are shared with another program.
    shared: Vec<OwnedFd>,
    /// `None` if the supervisor assumes that this process does not support the control protocol.
    orders: Option<Orders>,
    generation: u64,
}

impl WorkerProcess {
    /// Takes over the sockets and the control connection that a supervisor has passed to this process. Returns `None`
    /// if no supervisor has started it. Called only once. In a spare, it returns when the supervisor needs a worker.
    ///
    /// With [`LaunchPlan::program`], the workers run another program, and this process serves the error page in its
    /// place.
    pub(crate) fn inherited(
        options: &RunOptions,
        plan: &LaunchPlan,
        loader: &mut impl AppLoader,
    ) -> Result<Option<WorkerProcess>, RunError> {
        let Some(mut inherited) = Inherited::from_env()? else { return Ok(None) };
        options.give_up_rights()?;
        let sockets = inherited.take_listeners()?;
        let (listeners, shared) = if plan.program.is_some() {
            // A server has to listen on some address, but no client connects to this one.
            (Listeners::adopt([TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.into()])?, sockets)
        } else {
            (Listeners::adopt(sockets)?, Vec::new())
        };
        let orders = match inherited.take_control()? {
            Some(mut control) => {
                ignore_interrupts()?;
                if inherited.is_spare {
                    let worker = worker_of(Some(control.sender()), &listeners);
                    match spare::await_start(&mut control, loader, &worker)? {
                        Some(generation) => inherited.generation = generation,
                        None => std::process::exit(0),
                    }
                }
                Some(Orders::follow(control, options.reopen_logs.clone(), orphan_timeout())?)
            }
            None => None,
        };
        Ok(Some(WorkerProcess { listeners, shared, orders, generation: inherited.generation }))
    }

    /// Takes over the sockets and the control connection that a supervisor has passed to its fork.
    pub(crate) fn forked(forked: Forked, options: &RunOptions) -> Result<WorkerProcess, RunError> {
        let child = forked.enter()?;
        // The supervisor's log file may have been moved away since it was opened.
        options.reopen_logs.iter().for_each(|reopen| reopen());
        options.give_up_rights()?;
        let listeners = Listeners::adopt(child.listeners)?;
        let orders = Some(Orders::follow(child.control, options.reopen_logs.clone(), orphan_timeout())?);
        Ok(WorkerProcess { listeners, shared: Vec::new(), orders, generation: child.generation })
    }

    /// Returns the identity of the code, which is the same for all workers of a generation.
    fn build_id(&self) -> BuildId {
        let supervisor =
            std::env::var(variables::LIVE_RELOAD).unwrap_or_else(|_| std::os::unix::process::parent_id().to_string());
        let id = format!("{supervisor}-{}", self.generation);
        BuildId { id, is_error_page: ErrorPage::is_wanted() }
    }

    /// Whether other machines can reach one of the sockets. The developer who allows that wants to see the error page there.
    fn is_reachable(&self) -> bool {
        let own = self.listeners.local_addrs();
        let own = own.iter().filter_map(|address| match address {
            LocalAddr::Tcp(address) => Some(*address),
            _ => None,
        });
        let shared = self.shared.iter().filter_map(|socket| socket.try_clone().ok());
        let shared = shared.filter_map(|socket| TcpListener::from(socket).local_addr().ok());
        own.chain(shared).any(|address| !address.ip().to_canonical().is_loopback())
    }

    /// Serves the loader's application, or the error page in its place.
    pub(crate) fn serve(self, loader: &mut impl AppLoader, mut options: RunOptions) -> Result<(), RunError> {
        let worker = worker_of(self.orders.as_ref().map(|orders| orders.sender.clone()), &self.listeners);
        options.live_reload |= variables::is_set(variables::LIVE_RELOAD);
        options.settings.runtime.multiprocess |= options.workers > 1 || variables::is_set(variables::MULTIPROCESS);
        let app = match ErrorPage::from_env(self.is_reachable()) {
            Some(page) => {
                options.guest_of = None;
                Arc::new(page)
            }
            None => load_app_and_say(loader, &worker, &mut options)?,
        };
        let build_id = self.build_id();
        // Only the server holds the listeners, so this process stops listening when the server does.
        let server = assemble_server(self.listeners, app, options, build_id)?;
        loader.started(&server, &worker)?;
        let Some(orders) = self.orders else { return Ok(serve(loader, server, || ())?) };
        orders.set_server(&server);
        accept_all(self.shared, &server.receiver(), &orders.sender)?;
        // Reported before the loop runs: the sockets are listening, and a client that connects now waits only for the
        // first turn of the loop.
        orders.sender.send(&ControlMessage::Ready)?;
        let drained = move || {
            let _ = orders.sender.send(&ControlMessage::Drained);
        };
        Ok(serve(loader, server, drained)?)
    }
}

/// Returns what this process knows about itself as a worker with these sockets.
fn worker_of(sender: Option<ControlSender>, listeners: &Listeners) -> Worker {
    let server_fd = listeners.as_fds().next().map(|socket| socket.as_raw_fd());
    Worker::supervised(sender, variables::is_set(variables::RELOADING), server_fd)
}

/// Loads the application. The supervisor's banner can't name an event loop that drives the server because the application
/// uses it, so this process does.
fn load_app_and_say(
    loader: &mut impl AppLoader,
    worker: &Worker,
    options: &mut RunOptions,
) -> Result<Arc<dyn Application>, RunError> {
    let expected = options.guest_of.take();
    let app = load_app(loader, worker, options)?;
    if let Some(event_loop) = options.guest_of.as_ref().filter(|_| expected.is_none() && !options.quiet) {
        say!("{}", guest_line(event_loop));
    }
    Ok(app)
}

/// Reports the files of which this program consists to the supervisor, from a process that ends before it serves. Has no
/// effect without a supervisor that watches files.
///
/// # Errors
/// When the supervisor is gone, or what it has passed on can't be used.
pub fn report_files_before_exit(files: &[PathBuf]) -> io::Result<()> {
    if !variables::is_set(variables::RELOADING) {
        return Ok(());
    }
    let Some(control) = Inherited::from_env()?.map(|inherited| inherited.take_control()).transpose()?.flatten() else {
        return Ok(());
    };
    let sender = control.sender();
    let absolute = files.iter().filter_map(|file| std::path::absolute(file).ok());
    ControlMessage::files(absolute).try_for_each(|message| sender.send(&message))
}

/// Returns how long this process continues without its supervisor: as long as the supervisor would have let it run.
fn orphan_timeout() -> Duration {
    let told = std::env::var(variables::ORPHAN_TIMEOUT).ok().and_then(|text| text.parse().ok());
    told.map_or_else(
        || {
            let defaults = SupervisorOptions::default();
            defaults.drain_timeout + defaults.kill_timeout
        },
        Duration::from_millis,
    )
}
