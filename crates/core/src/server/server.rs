//! The server, and the three kinds of it.

use std::fmt;
use std::panic;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ServeError, ServeErrorKind};
use super::event_loop::EventLoop;
use super::io::address::{Address, LocalAddr};
use super::io::fork_guard;
use super::io::waker::Waker;
use super::listener::Listeners;
use super::loop_group::LoopGroup;
use super::receiver::Receiver;
#[cfg(unix)]
use super::run::forking;
#[cfg(unix)]
use super::run::guest::Guest;
#[cfg(unix)]
use super::run::leader_pool::POOL_THREADS;
use super::run::{single, threaded};
use super::service::{Failure, Service};
use super::settings::Settings;
use super::shutdown::ShutdownHandle;
use super::sync::lock;
use crate::wsgi::{Application, ServerInfo};

/// How a server runs its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// One request at a time, in the thread that serves.
    Single,
    /// One thread for each running request.
    Threads,
    /// One process for each running request.
    Processes,
    /// One task of another event loop for each running request ([`Server::into_guest`]).
    Guest,
}

/// A bound server, made by [`make_server`] or by the `bind` of one of the three kinds, which dereference to this type.
///
/// It listens from the moment it is made. Clients that connect before [`serve_forever`](Server::serve_forever) wait.
///
/// A process that the application forks without `exec` keeps the server's sockets, unless
/// [`Runtime::guard_forks`](super::Runtime::guard_forks) is set.
pub struct Server {
    event_loop: Option<Box<EventLoop>>,
    concurrency: Concurrency,
    serve: Serve,
    service: Arc<Service>,
    waker: Arc<Waker>,
    shutdown: ShutdownHandle,
    group: Arc<LoopGroup>,
    local: Vec<LocalAddr>,
}

/// Runs the event loop of a server until it is told to stop. A pointer, so that a program contains only the drivers that
/// it can use.
type Serve = fn(&mut Server) -> Result<(), ServeError>;

/// Makes a server of one of the three kinds that listens on all of `addresses`.
///
/// ```
/// use amboss_core::{make_server, Address, AppError, Body, Concurrency, Environ, Settings, StartResponse};
///
/// fn app(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     start_response.start("200 OK", &[])?;
///     Ok(Body::from("hello"))
/// }
///
/// let server = make_server(&[Address::new("127.0.0.1", 0)], app, Concurrency::Threads, Settings::default())?;
/// println!("http://{}/", server.local_addrs()[0]);
/// # Ok::<(), amboss_core::ServeError>(())
/// ```
///
/// # Errors
/// When the system refuses an address; the message names the address and the reason. When `addresses` is empty, or the system
/// can't fork and `concurrency` needs it.
pub fn make_server(
    addresses: &[Address],
    app: impl Application + 'static,
    concurrency: Concurrency,
    settings: Settings,
) -> Result<Server, ServeError> {
    make_server_on(Listeners::bind(addresses, &settings)?, app, concurrency, settings)
}

/// Makes a server on sockets that are listening already.
///
/// # Errors
/// When `listeners` is empty, when the system can't fork and `concurrency` needs it, or when the system refuses the
/// descriptors that the server needs in addition.
pub fn make_server_on(
    listeners: Listeners,
    app: impl Application + 'static,
    concurrency: Concurrency,
    settings: Settings,
) -> Result<Server, ServeError> {
    let serve = match concurrency {
        Concurrency::Single => serve_one_at_a_time,
        Concurrency::Threads => serve_with_threads,
        Concurrency::Processes => serve_with_processes,
        Concurrency::Guest => serve_as_guest,
    };
    Server::new(listeners, Arc::new(app), concurrency, serve, settings)
}

/// Makes a server on the sockets that systemd has passed to this process (`sd_listen_fds(3)`). `None` if it passed none.
///
/// # Errors
/// When a descriptor is not a listening socket; otherwise as [`make_server_on`].
pub fn make_server_from_systemd(
    app: impl Application + 'static,
    concurrency: Concurrency,
    settings: Settings,
) -> Result<Option<Server>, ServeError> {
    let listeners = Listeners::from_systemd()?;
    if listeners.is_empty() {
        return Ok(None);
    }
    make_server_on(listeners, app, concurrency, settings).map(Some)
}

impl Server {
    fn new(
        listeners: Listeners,
        app: Arc<dyn Application>,
        concurrency: Concurrency,
        serve: Serve,
        settings: Settings,
    ) -> Result<Server, ServeError> {
        if listeners.is_empty() {
            return Err(
                ServeErrorKind::Settings("there is nothing to listen on; give at least one address".into()).into()
            );
        }
        if cfg!(not(unix)) && concurrency == Concurrency::Processes {
            return Err(
                ServeErrorKind::Settings("this system can't fork; use threads instead of processes".into()).into()
            );
        }
        if settings.runtime.guard_forks {
            fork_guard::install();
        }
        let shutdown = ShutdownHandle::new();
        let application_handle = shutdown.clone();
        let info = ServerInfo {
            software: String::new(),
            shutdown: Box::new(move || application_handle.shutdown()),
            // A task may be suspended while another one runs, so an application can't tell tasks from threads.
            multithread: matches!(concurrency, Concurrency::Threads | Concurrency::Guest)
                && settings.runtime.threads > 1,
            multiprocess: concurrency == Concurrency::Processes || settings.runtime.multiprocess,
            run_once: false,
        };
        let local = listeners.local_addrs();
        let service = Arc::new(Service::new(app, settings, info));
        let waker = Arc::new(Waker::new()?);
        shutdown.register(waker.clone());
        let batches = matches!(concurrency, Concurrency::Threads | Concurrency::Guest);
        let Listeners(listeners) = listeners;
        let group = match concurrency {
            Concurrency::Threads => LoopGroup::new(&service.settings, listeners),
            Concurrency::Guest => LoopGroup::guest(service.settings.runtime.threads, listeners),
            Concurrency::Single | Concurrency::Processes => LoopGroup::single(listeners),
        };
        let event_loop = Box::new(EventLoop::new(service.clone(), group.clone(), 0, waker.clone(), batches)?);
        let weak_group = Arc::downgrade(&group);
        shutdown.set_counter(move || weak_group.upgrade().map_or(0, |group| group.open()));
        Ok(Server { event_loop: Some(event_loop), concurrency, serve, service, waker, shutdown, group, local })
    }

    /// Returns the addresses that the server is bound to, with the ports that the system has chosen.
    pub fn local_addrs(&self) -> &[LocalAddr] {
        &self.local
    }

    /// Returns how the server runs the application.
    pub fn concurrency(&self) -> Concurrency {
        self.concurrency
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.service.settings
    }

    /// Returns a handle that stops the server.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// Returns a handle that adds connections which another process accepted.
    pub fn receiver(&self) -> Receiver {
        Receiver { service: self.service.clone(), group: self.group.clone() }
    }

    /// Serves until the [`ShutdownHandle`] is used. Then the listening sockets are closed, and a second call returns at once.
    ///
    /// # Errors
    /// When the system fails to wait for sockets, or when the process can't be forked safely, because threads of
    /// another server are running. With [`Settings::passthrough_errors`], an error of the application is returned as
    /// well.
    ///
    /// # Panics
    /// With [`Settings::passthrough_errors`], when the application panics.
    pub fn serve_forever(&mut self) -> Result<(), ServeError> {
        let result = (self.serve)(self);
        self.service.settings.log.sync();
        self.propagate_failure()?;
        result
    }

    /// Serves one request in this thread. Returns true when the response has been sent, or false when `timeout` has passed.
    ///
    /// For programs that wait for one callback: the port is free once the server is dropped. The connection is closed after
    /// the response, and other connections wait for the next call.
    ///
    /// # Errors
    /// As [`serve_forever`](Server::serve_forever).
    ///
    /// # Panics
    /// As [`serve_forever`](Server::serve_forever).
    pub fn handle_request(&mut self, timeout: Duration) -> Result<bool, ServeError> {
        let Some(event_loop) = &mut self.event_loop else { return Ok(false) };
        self.service.last_request.store(true, Ordering::Relaxed);
        let result = single::serve_one(event_loop, timeout, &self.shutdown);
        self.service.last_request.store(false, Ordering::Relaxed);
        self.service.settings.log.sync();
        self.propagate_failure()?;
        Ok(result?)
    }

    /// Makes this server the guest of another event loop, which drives it instead of
    /// [`serve_forever`](Server::serve_forever).
    ///
    /// # Errors
    /// If the server was not made with [`Concurrency::Guest`], has served already, passes errors of the application through
    /// ([`Settings::passthrough_errors`]), or waits with poll(2), which has no descriptor that another loop could watch.
    #[cfg(unix)]
    pub fn into_guest(mut self) -> Result<Guest, ServeError> {
        let event_loop = self.event_loop.take().filter(|_| self.concurrency == Concurrency::Guest);
        let Some(event_loop) = event_loop else {
            let message = "only a server that was made with Concurrency::Guest and has not served can be a guest";
            return Err(ServeErrorKind::Settings(message.into()).into());
        };
        if self.service.settings.passthrough_errors {
            let message = "passthrough_errors ends the function that serves, and a guest has none; leave it out";
            return Err(ServeErrorKind::Settings(message.into()).into());
        }
        Guest::new(event_loop, self.service.clone(), self.shutdown.clone())
    }

    /// Returns or resumes the failure of the application that has ended the server.
    fn propagate_failure(&self) -> Result<(), ServeError> {
        let failure = lock(&self.service.failure).take();
        match failure {
            None => Ok(()),
            Some(Failure::Error(error)) => Err(ServeErrorKind::Application(error).into()),
            Some(Failure::Panic(caught)) => match caught.payload.into_inner() {
                Some(payload) => panic::resume_unwind(payload),
                None => Ok(()),
            },
        }
    }
}

/// Not possible: another event loop drives a guest.
fn serve_as_guest(_: &mut Server) -> Result<(), ServeError> {
    let message = "a server with Concurrency::Guest is driven by another event loop; call into_guest";
    Err(ServeErrorKind::Settings(message.into()).into())
}

fn serve_one_at_a_time(server: &mut Server) -> Result<(), ServeError> {
    let Some(mut event_loop) = server.event_loop.take() else { return Ok(()) };
    Ok(single::serve(&mut event_loop, &server.shutdown)?)
}

fn serve_with_threads(server: &mut Server) -> Result<(), ServeError> {
    let Some(event_loop) = server.event_loop.take() else { return Ok(()) };
    Ok(threaded::serve(&server.service, &server.shutdown, server.waker.clone(), event_loop)?)
}

#[cfg(unix)]
fn serve_with_processes(server: &mut Server) -> Result<(), ServeError> {
    let Some(mut event_loop) = server.event_loop.take() else { return Ok(()) };
    let threads = POOL_THREADS.load(Ordering::SeqCst);
    if threads > 0 {
        server.event_loop = Some(event_loop);
        return Err(ServeErrorKind::Settings(format!(
            "can't fork while {threads} threads of another server are running in this process; stop that server first, \
             or use threads here as well"
        ))
        .into());
    }
    Ok(forking::serve(&mut event_loop, &server.shutdown)?)
}

/// Not called: [`Server::new`] has refused processes.
#[cfg(not(unix))]
fn serve_with_processes(server: &mut Server) -> Result<(), ServeError> {
    serve_one_at_a_time(server)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("concurrency", &self.concurrency).field("local", &self.local).finish()
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $concurrency:ident, $serve:ident;)*) => { $(
        $(#[$doc])*
        ///
        /// This type has no values: its functions make a [`Server`].
        #[derive(Debug)]
        pub enum $name {}

        impl $name {
            /// Makes a server that listens on an [`Address`] with the default settings.
            ///
            /// # Errors
            /// When the text is not an address, or the system refuses the address.
            pub fn bind(address: &str, app: impl Application + 'static) -> Result<Server, ServeError> {
                $name::with_settings(address, app, Settings::default())
            }

            /// Makes a server that listens on an [`Address`] with these settings.
            ///
            /// # Errors
            /// When the text is not an address, or the system refuses the address.
            pub fn with_settings(
                address: &str,
                app: impl Application + 'static,
                settings: Settings,
            ) -> Result<Server, ServeError> {
                let address = address
                    .parse::<Address>()
                    .map_err(|error| ServeErrorKind::Settings(error.to_string()))?;
                let listeners = Listeners::bind(&[address], &settings)?;
                Server::new(listeners, Arc::new(app), Concurrency::$concurrency, $serve, settings)
            }
        }
    )* };
}

kinds! {
    /// A server that runs one request at a time, in the thread that serves. Idle connections and slow heads do not delay other
    /// clients.
    BaseWsgiServer = Single, serve_one_at_a_time;
    /// A server with a thread for each running request, up to [`Runtime::threads`](super::Runtime::threads).
    ThreadedWsgiServer = Threads, serve_with_threads;
    /// A server with a process for each running request, up to [`Runtime::processes`](super::Runtime::processes). Unix only.
    ///
    /// A forked process has only the thread that forked (`fork(2)`), and locks that other threads held stay locked in it. So
    /// the process must not have other threads that hold locks which the application needs.
    ForkingWsgiServer = Processes, serve_with_processes;
}
