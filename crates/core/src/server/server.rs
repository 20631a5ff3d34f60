//! The three servers: event loops, run in three ways.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::error::ServeError;
use super::event_loop::EventLoop;
use super::io::address::{Address, LocalAddr};
use super::io::waker::Waker;
use super::listener::Listeners;
use super::loop_group::LoopGroup;
use super::receiver::Receiver;
#[cfg(unix)]
use super::run::forking;
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
    /// One request at a time.
    Single,
    /// Each running request may have a thread.
    Threads,
    /// Each running request has a process.
    Processes,
}

/// A bound server: what the three kinds have in common. Made by [`make_server`] or by one of the kinds' `bind`.
///
/// It listens from the moment it is made; clients that connect before [`serve_forever`](Server::serve_forever) wait.
///
/// On Unix, what the application forks without `exec` has nothing of it: in such a process its descriptors stand for the
/// null device, so that connections end and the port is free when the server says so, however long that process lives.
pub struct Server {
    event_loop: Option<Box<EventLoop>>,
    concurrency: Concurrency,
    service: Arc<Service>,
    waker: Arc<Waker>,
    shutdown: ShutdownHandle,
    group: Arc<LoopGroup>,
    local: Vec<LocalAddr>,
}

/// Makes a server of one of the three kinds, listening on all of `addresses`.
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
/// When an address can't be listened on; the sentence says which and why.
pub fn make_server(
    addresses: &[Address],
    app: impl Application + 'static,
    concurrency: Concurrency,
    settings: Settings,
) -> Result<Server, ServeError> {
    make_server_on(Listeners::bind(addresses, &settings)?, app, concurrency, settings)
}

/// Makes a server on sockets that listen already.
///
/// # Errors
/// When there are none, or the system refuses what the server needs besides.
pub fn make_server_on(
    listeners: Listeners,
    app: impl Application + 'static,
    concurrency: Concurrency,
    settings: Settings,
) -> Result<Server, ServeError> {
    Server::new(listeners, Arc::new(app), concurrency, settings)
}

/// Makes a server on the sockets that systemd passed on (`LISTEN_FDS`); `None` when it passed none.
///
/// # Errors
/// When what was passed is no listening socket.
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
        settings: Settings,
    ) -> Result<Server, ServeError> {
        if listeners.is_empty() {
            return Err(ServeError::Settings("give at least one address to listen on".into()));
        }
        if cfg!(not(unix)) && concurrency == Concurrency::Processes {
            return Err(ServeError::Settings("this system can't fork; use threads instead of processes".into()));
        }
        let shutdown = ShutdownHandle::new();
        let for_application = shutdown.clone();
        let info = ServerInfo {
            software: String::new(),
            shutdown: Box::new(move || for_application.shutdown()),
            multithread: concurrency == Concurrency::Threads && settings.threads > 1,
            multiprocess: concurrency == Concurrency::Processes || settings.multiprocess,
            run_once: false,
        };
        let local = listeners.local_addrs();
        let service = Arc::new(Service::new(app, settings, info));
        let waker = Arc::new(Waker::new()?);
        shutdown.register(waker.clone());
        let threads = concurrency == Concurrency::Threads;
        let Listeners(listeners) = listeners;
        let group = if threads { LoopGroup::new(&service.settings, listeners) } else { LoopGroup::single(listeners) };
        let event_loop = Box::new(EventLoop::new(service.clone(), group.clone(), 0, waker.clone(), threads)?);
        let counted = Arc::downgrade(&group);
        shutdown.count_by(move || counted.upgrade().map_or(0, |group| group.open()));
        Ok(Server { event_loop: Some(event_loop), concurrency, service, waker, shutdown, group, local })
    }

    /// The addresses the server is bound to, with the ports the system picked.
    pub fn local_addrs(&self) -> &[LocalAddr] {
        &self.local
    }

    /// How it runs the application.
    pub fn concurrency(&self) -> Concurrency {
        self.concurrency
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.service.settings
    }

    /// Stops the server from elsewhere.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// Returns a handle that adds connections which another process accepted.
    pub fn receiver(&self) -> Receiver {
        Receiver { service: self.service.clone(), group: self.group.clone() }
    }

    /// Serves until the [`ShutdownHandle`] is used. Afterwards nothing listens any more, and a second call returns at
    /// once.
    ///
    /// # Errors
    /// When waiting fails; when the process can't be forked safely; the application's error with
    /// [`Settings::passthrough_errors`].
    ///
    /// # Panics
    /// With a panic of the application, with [`Settings::passthrough_errors`].
    pub fn serve_forever(&mut self) -> Result<(), ServeError> {
        let Some(mut event_loop) = self.event_loop.take() else { return Ok(()) };
        let result = match self.concurrency {
            Concurrency::Single => single::serve(&mut event_loop, &self.shutdown),
            Concurrency::Threads => threaded::serve(&self.service, &self.shutdown, self.waker.clone(), event_loop),
            Concurrency::Processes => {
                let threads = POOL_THREADS.load(Ordering::SeqCst);
                if threads > 0 {
                    self.event_loop = Some(event_loop);
                    return Err(ServeError::Settings(format!(
                        "can't fork while {threads} threads of another server run in this process; stop that server \
                         first or use threads here, too"
                    )));
                }
                #[cfg(unix)]
                let served = forking::serve(&mut event_loop, &self.shutdown);
                #[cfg(not(unix))]
                let served = single::serve(&mut event_loop, &self.shutdown);
                served
            }
        };
        self.service.settings.log.sync();
        self.pass_failure_on()?;
        Ok(result?)
    }

    /// Serves one request in this thread and returns when its answer is out, or when `timeout` has passed: false then.
    ///
    /// For "wait for one callback, then go away": drop the server afterwards and the port is free. The connection is
    /// closed after the answer, other connections wait for the next call.
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
        self.pass_failure_on()?;
        Ok(result?)
    }

    fn pass_failure_on(&self) -> Result<(), ServeError> {
        let failure = lock(&self.service.failure).take();
        match failure {
            None => Ok(()),
            Some(Failure::Error(error)) => Err(ServeError::Application(error)),
            Some(Failure::Panic(caught)) => match caught.payload.into_inner() {
                Some(payload) => panic::resume_unwind(payload),
                None => Ok(()),
            },
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("concurrency", &self.concurrency).field("local", &self.local).finish()
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $concurrency:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Server);

        impl $name {
            /// Listens on an address (see [`Address`]) with the default settings.
            ///
            /// # Errors
            /// When the text is no address or can't be listened on.
            pub fn bind(address: &str, app: impl Application + 'static) -> Result<$name, ServeError> {
                $name::with_settings(address, app, Settings::default())
            }

            /// Listens on an address with settings of one's own.
            ///
            /// # Errors
            /// When the text is no address or can't be listened on.
            pub fn with_settings(
                address: &str,
                app: impl Application + 'static,
                settings: Settings,
            ) -> Result<$name, ServeError> {
                let address = address
                    .parse::<Address>()
                    .map_err(|error| ServeError::Settings(error.to_string()))?;
                make_server(&[address], app, Concurrency::$concurrency, settings).map($name)
            }
        }

        impl Deref for $name {
            type Target = Server;
            fn deref(&self) -> &Server {
                &self.0
            }
        }

        impl DerefMut for $name {
            fn deref_mut(&mut self) -> &mut Server {
                &mut self.0
            }
        }
    )* };
}

kinds! {
    /// One request at a time, in the thread that serves. Connections that are idle or slow with their head hold up
    /// nobody.
    BaseWsgiServer = Single;
    /// A thread for each request that is running, up to [`Settings::threads`].
    ThreadedWsgiServer = Threads;
    /// A process for each request that is running, up to [`Settings::processes`]. Unix only.
    ///
    /// Forking copies a process with the one thread that forks: make this server before anything starts threads that
    /// hold locks the application needs.
    ForkingWsgiServer = Processes;
}
