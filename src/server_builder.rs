//! [`ServerBuilder`], through which every server is started, and [`run_simple`], a shortcut for it.

use std::sync::Arc;

use amboss_core::{Address, Application, Listeners, Server};

use crate::app_loader::{AppLoader, StaticApp};
use crate::assemble::{assemble_server, bind, load_app, serve};
use crate::banner::banner;
use crate::error::RunError;
#[cfg(all(unix, feature = "reload"))]
use crate::error::RunErrorKind;
#[cfg(all(unix, feature = "reload"))]
use crate::launch_plan::LaunchPlan;
use crate::live_reload::BuildId;
use crate::options::RunOptions;
#[cfg(all(unix, feature = "cli"))]
use crate::pid_file::PidFile;
#[cfg(all(unix, feature = "reload"))]
use crate::supervise::{self, Forked, WorkerProcess};
use crate::worker::Worker;

/// Serves an application until the server is told to stop.
///
/// `host` is a name, an IPv4 or IPv6 address, or `unix://path`; `localhost` listens on both families. Port 0 lets the
/// system pick one, which the banner shows. This is [`ServerBuilder`] with one address.
///
/// # Errors
/// Options that contradict each other, an address that can't be listened on, or what ended the server.
///
/// # Panics
/// With a panic of the application, with [`RunOptions::passthrough_errors`].
pub fn run_simple(host: &str, port: u16, app: impl Application + 'static, options: RunOptions) -> Result<(), RunError> {
    ServerBuilder::new(app).bind(Address::new(host, port)).options(options).run()
}

/// A builder that makes a server and runs it.
///
/// With [`RunOptions::use_reloader`] or [`RunOptions::workers`], [`run`](ServerBuilder::run) makes this process a
/// supervisor, which holds the sockets and watches files. It starts the same command line again as a worker, which
/// serves when it calls `run` ([`is_running_from_reloader`](crate::is_running_from_reloader) returns true there).
///
/// ```no_run
/// use amboss::{AppError, Body, Environ, RunOptions, ServerBuilder, StartResponse};
///
/// fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
///     Ok(Body::from("Hello world!\n"))
/// }
///
/// let mut options = RunOptions::default();
/// options.next_free_port = true;
/// ServerBuilder::new(hello)
///     .bind("localhost:5000".parse()?)
///     .bind("unix:///tmp/hello.sock".parse()?)
///     .options(options)
///     .on_start(|server, _| {
///         println!("{} addresses", server.local_addrs().len());
///         Ok(())
///     })
///     .run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ServerBuilder<L = StaticApp> {
    loader: L,
    addresses: Vec<Address>,
    listeners: Option<Listeners>,
    options: RunOptions,
    #[cfg(all(unix, feature = "reload"))]
    plan: LaunchPlan,
}

impl ServerBuilder<StaticApp> {
    /// Makes a builder for an application that exists already.
    pub fn new(app: impl Application + 'static) -> ServerBuilder<StaticApp> {
        ServerBuilder::with_loader(StaticApp::new(Arc::new(app)))
    }

    /// Sets a function that is called with the server before it serves, in the process that serves. With a supervisor,
    /// that is not this process; see [`Worker`].
    pub fn on_start(
        mut self,
        on_start: impl FnOnce(&Server, &Worker) -> Result<(), RunError> + Send + 'static,
    ) -> ServerBuilder<StaticApp> {
        self.loader.set_on_start(Box::new(on_start));
        self
    }
}

impl<L: AppLoader> ServerBuilder<L> {
    /// Makes a builder for an application that is loaded in the process that serves.
    pub fn with_loader(loader: L) -> ServerBuilder<L> {
        ServerBuilder {
            loader,
            addresses: Vec::new(),
            listeners: None,
            options: RunOptions::default(),
            #[cfg(all(unix, feature = "reload"))]
            plan: LaunchPlan::default(),
        }
    }

    /// Adds an address to listen on.
    #[must_use]
    pub fn bind(mut self, address: Address) -> ServerBuilder<L> {
        self.addresses.push(address);
        self
    }

    /// Adds addresses to listen on.
    #[must_use]
    pub fn bind_all(mut self, addresses: impl IntoIterator<Item = Address>) -> ServerBuilder<L> {
        self.addresses.extend(addresses);
        self
    }

    /// Sets listening sockets to serve on, instead of addresses.
    #[must_use]
    pub fn listeners(mut self, listeners: Listeners) -> ServerBuilder<L> {
        self.listeners = Some(listeners);
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: RunOptions) -> ServerBuilder<L> {
        self.options = options;
        self
    }

    /// Sets how a supervisor starts its workers.
    #[cfg(all(unix, feature = "reload"))]
    #[must_use]
    pub fn launch(mut self, plan: LaunchPlan) -> ServerBuilder<L> {
        self.plan = plan;
        self
    }

    /// Loads the application and makes the server without starting it. Never starts a supervisor.
    ///
    /// # Errors
    /// The errors of [`run`](ServerBuilder::run) that occur before the server starts.
    pub fn build(mut self) -> Result<Server, RunError> {
        self.complete_options()?;
        let listeners = self.take_listeners()?;
        self.options.warn();
        self.options.give_up_rights()?;
        load_server(&mut self.loader, &Worker::default(), listeners, self.options)
    }

    /// Checks the options without listening and without loading the application.
    ///
    /// # Errors
    /// Options that contradict each other, and folders that can't be served.
    pub fn check(&self) -> Result<(), RunError> {
        self.options.clone().resolve()?;
        #[cfg(feature = "toolkit")]
        crate::surroundings::check(&self.options)?;
        Ok(())
    }

    /// Serves until the server is told to stop.
    ///
    /// # Errors
    /// Options that contradict each other, an address that can't be listened on, the loader's errors, what ended the
    /// server, or the exit code of a supervisor.
    ///
    /// # Panics
    /// With a panic of the application, with [`RunOptions::passthrough_errors`].
    pub fn run(mut self) -> Result<(), RunError> {
        self.complete_options()?;
        #[cfg(all(unix, feature = "reload"))]
        {
            if let Some(process) = WorkerProcess::inherited(&self.options, &self.plan, &mut self.loader)? {
                return process.serve(&mut self.loader, self.options);
            }
            if self.options.wants_supervisor(&self.plan) {
                return self.supervise();
            }
        }
        #[cfg(all(unix, feature = "cli"))]
        let pid_file = self.write_pid_file(true)?;
        let (quiet, fingerprint, scheme) = (self.options.quiet, self.options.fingerprint(), self.options.scheme());
        let hosts = self.shown_hosts();
        // Bind first: an error is reported at once, and clients that connect early wait until the application is
        // loaded.
        let listeners = self.take_listeners()?;
        self.options.warn();
        self.options.give_up_rights()?;
        let worker = Worker::default();
        let server = load_server(&mut self.loader, &worker, listeners, self.options)?;
        let guest_of = self.loader.guest_of();
        // Before the banner, so that CTRL+C already works as the banner says.
        self.loader.started(&server, &worker)?;
        if !quiet {
            say!(
                "{}",
                banner(server.local_addrs(), scheme, fingerprint.as_deref(), &hosts, guest_of.as_deref()).trim_end()
            );
        }
        let end = move || {
            #[cfg(all(unix, feature = "cli"))]
            drop(pid_file);
        };
        Ok(serve(&mut self.loader, server, end)?)
    }

    /// Writes the process ID of this process, if the options name a file for it. With `is_owned`, the file belongs to the
    /// user that this process becomes; a supervisor stays root, and so does its file.
    #[cfg(all(unix, feature = "cli"))]
    fn write_pid_file(&self, is_owned: bool) -> Result<Option<PidFile>, RunError> {
        let created = |file: &std::fs::File| {
            if is_owned {
                self.options.own(file);
            }
        };
        self.options.pid_file.as_deref().map(|path| PidFile::write(path, created)).transpose()
    }

    /// Serves in a worker that was forked by [`LaunchPlan::fork`].
    ///
    /// # Errors
    /// The errors of [`run`](ServerBuilder::run), or an error if the supervisor has ended in the meantime.
    ///
    /// # Panics
    /// As [`run`](ServerBuilder::run).
    #[cfg(all(unix, feature = "reload"))]
    pub fn run_forked(mut self, forked: Forked) -> Result<(), RunError> {
        WorkerProcess::forked(forked, &self.options)?.serve(&mut self.loader, self.options)
    }

    #[cfg(all(unix, feature = "reload"))]
    fn supervise(mut self) -> Result<(), RunError> {
        // Reports contradicting options before any process is started.
        self.options.check(&self.addresses)?;
        self.options.warn();
        if self.plan.fork.is_some() && self.options.use_reloader {
            let message = "An application that is loaded before its workers are forked can't be reloaded when a file \
                           changes; use either preloading or the reloader.";
            return Err(RunErrorKind::Options(message.into()).into());
        }
        #[cfg(feature = "cli")]
        let _pid_file = self.write_pid_file(false)?;
        let (fingerprint, scheme, hosts) = (self.options.fingerprint(), self.options.scheme(), self.shown_hosts());
        let listeners = self.listeners.take();
        let (options, addresses) = (&self.options, &self.addresses);
        let code = supervise::supervise(options, &self.plan, || {
            let listeners = listen(listeners, addresses, options)?;
            let banner = (!options.quiet).then(|| {
                banner(&listeners.local_addrs(), scheme, fingerprint.as_deref(), &hosts, options.guest_of.as_deref())
            });
            Ok((listeners, banner))
        })?;
        if code == 0 {
            Ok(())
        } else {
            Err(RunErrorKind::Exit(code).into())
        }
    }

    /// Adds to the options what follows from the addresses, and checks that they go together.
    fn complete_options(&mut self) -> Result<(), RunError> {
        #[cfg(feature = "toolkit")]
        self.options.bound_names.extend(crate::surroundings::names_of(&self.addresses));
        #[cfg(feature = "debugger")]
        crate::debug_pages::check_addresses(&self.options, &self.addresses)?;
        Ok(())
    }

    /// Returns the hosts for the banner: those with an application of their own, but no patterns.
    fn shown_hosts(&self) -> Vec<String> {
        #[cfg(feature = "toolkit")]
        return self.options.hosts.iter().map(|(host, _)| host.clone()).filter(|host| !host.starts_with('*')).collect();
        #[cfg(not(feature = "toolkit"))]
        Vec::new()
    }

    fn take_listeners(&mut self) -> Result<Listeners, RunError> {
        listen(self.listeners.take(), &self.addresses, &self.options)
    }
}

/// Returns the given sockets, or binds the addresses.
fn listen(listeners: Option<Listeners>, addresses: &[Address], options: &RunOptions) -> Result<Listeners, RunError> {
    let listeners = listeners.map_or_else(|| bind(addresses, options), Ok)?;
    #[cfg(feature = "debugger")]
    crate::debug_pages::check_listeners(options, &listeners)?;
    #[cfg(all(target_os = "linux", feature = "cli"))]
    if let Some(run_as) = &options.run_as {
        for address in listeners.local_addrs() {
            if let amboss_core::LocalAddr::Unix(Some(path)) = address {
                run_as.own_socket(&path);
            }
        }
    }
    Ok(listeners)
}

/// Loads the application in this process, and makes its server.
fn load_server(
    loader: &mut impl AppLoader,
    worker: &Worker,
    listeners: Listeners,
    mut options: RunOptions,
) -> Result<Server, RunError> {
    let app = load_app(loader, worker, &mut options)?;
    assemble_server(listeners, app, options, BuildId::of_this_process())
}
