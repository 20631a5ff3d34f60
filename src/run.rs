//! `run_simple` and what it is built on: one way to serve, whatever the program and whoever supervises it.

mod error;
mod options;

use std::io;
use std::sync::Arc;

use amboss_core::{make_server_on, Address, Application, Listeners, Server};

pub use error::RunError;
pub use options::RunOptions;

use crate::banner::banner;
use crate::host::{Host, StaticApp, Worker};
use crate::live_reload::{BuildId, LiveReload};
#[cfg(all(unix, feature = "reload"))]
use crate::reload;

/// Serves an application until the server is told to stop.
///
/// `host` is a name, an IPv4 or IPv6 address, or `unix://path`; `localhost` listens on both families. Port 0 lets the
/// system pick one; the banner says which.
///
/// With `use_reloader` or `workers` this process becomes the one that holds the sockets and watches: the same command
/// line is started again, and this function serves there
/// ([`is_running_from_reloader`](crate::is_running_from_reloader)).
///
/// # Errors
/// Contradictory options, an address that can't be listened on, or what ended the server.
///
/// # Panics
/// With a panic of the application, with [`RunOptions::passthrough_errors`].
pub fn run_simple(host: &str, port: u16, app: impl Application + 'static, options: RunOptions) -> Result<(), RunError> {
    run_on(&[Address::new(host, port)], app, options, |_, _| Ok(()))
}

/// [`run_simple`] on several addresses, with a look at the server before it serves: in the process that does, to watch
/// for signals there. They may be meant for that process alone (see [`Worker::leave`]).
///
/// # Errors
/// As [`run_simple`], and the error of `started`.
///
/// # Panics
/// As [`run_simple`].
pub fn run_on(
    addresses: &[Address],
    app: impl Application + 'static,
    options: RunOptions,
    started: impl FnOnce(&Server, &Worker) -> Result<(), RunError>,
) -> Result<(), RunError> {
    run_host(addresses, StaticApp { app: Arc::new(app), started: Some(started) }, options)
}

/// [`run_simple`] for a program that makes its application only where it serves, and waits in a way of its own.
///
/// With a supervisor the host is asked for nothing in the process that supervises.
///
/// # Errors
/// As [`run_simple`], and those of the host.
///
/// # Panics
/// As [`run_simple`].
pub fn run_host(addresses: &[Address], mut host: impl Host, mut options: RunOptions) -> Result<(), RunError> {
    #[cfg(all(unix, feature = "reload"))]
    {
        if let Some(child) = reload::Child::inherited(&options)? {
            return child.serve(&mut host, options);
        }
        if options.wants_supervisor() {
            return supervise(addresses, &options);
        }
    }
    let (quiet, fingerprint, scheme) = (options.quiet, options.fingerprint(), options.scheme());
    // First, since it fails at once if it does, and whoever connects waits until the application is there.
    let listeners = bind(addresses, &options)?;
    let worker = Worker::default();
    let app = host.application(&worker)?;
    host.configure(&mut options.settings)?;
    let server = make(listeners, app, options, BuildId::of_this_process())?;
    // First, so that CTRL+C does what the banner says.
    host.started(&server, &worker)?;
    if !quiet {
        say!("{}", banner(server.local_addrs(), scheme, fingerprint.as_deref()).trim_end());
    }
    Ok(host.serve(server)?)
}

/// [`run_host`] in a child that was made by [`RunOptions::fork`].
///
/// # Errors
/// As [`run_host`], and when the supervisor has ended meanwhile.
///
/// # Panics
/// As [`run_simple`].
#[cfg(all(unix, feature = "reload"))]
pub fn run_forked(forked: reload::Forked, mut host: impl Host, options: RunOptions) -> Result<(), RunError> {
    reload::Child::forked(forked, &options)?.serve(&mut host, options)
}

#[cfg(all(unix, feature = "reload"))]
fn supervise(addresses: &[Address], options: &RunOptions) -> Result<(), RunError> {
    // What contradicts itself does so before anything is started.
    options.clone().resolve()?;
    let (fingerprint, scheme) = (options.fingerprint(), options.scheme());
    let code = reload::supervise(options, || {
        let listeners = bind(addresses, options)?;
        let banner = (!options.quiet).then(|| banner(&listeners.local_addrs(), scheme, fingerprint.as_deref()));
        Ok((listeners, banner))
    })?;
    if code == 0 {
        Ok(())
    } else {
        Err(RunError::Exit(code))
    }
}

/// The server that [`run_simple`] runs without a reloader, not started yet.
///
/// # Errors
/// As `run_simple`.
pub fn make_run_server(
    addresses: &[Address],
    app: impl Application + 'static,
    options: RunOptions,
) -> Result<Server, RunError> {
    make(bind(addresses, &options)?, Arc::new(app), options, BuildId::of_this_process())
}

/// [`make_run_server`] on sockets that listen already.
///
/// # Errors
/// Contradictory options.
pub fn make_run_server_on(
    listeners: Listeners,
    app: impl Application + 'static,
    options: RunOptions,
) -> Result<Server, RunError> {
    make(listeners, Arc::new(app), options, BuildId::of_this_process())
}

/// The server of a process that serves.
pub(crate) fn make(
    listeners: Listeners,
    app: Arc<dyn Application>,
    options: RunOptions,
    build: BuildId,
) -> Result<Server, RunError> {
    let live = options.live;
    let (concurrency, mut settings) = options.resolve()?;
    if !live {
        return Ok(make_server_on(listeners, app, concurrency, settings)?);
    }
    let app = LiveReload::new(app, build, concurrency, &mut settings);
    let shutdown = app.shutdown_slot();
    let server = make_server_on(listeners, app, concurrency, settings)?;
    shutdown.set(server.shutdown_handle());
    Ok(server)
}

fn bind(addresses: &[Address], options: &RunOptions) -> Result<Listeners, RunError> {
    if options.from_systemd {
        let listeners = Listeners::from_systemd()?;
        if !listeners.is_empty() {
            return Ok(listeners);
        }
    }
    let mut addresses: Vec<Address> = addresses.iter().chain(&options.also).cloned().collect();
    loop {
        match Listeners::bind(&addresses, &options.settings) {
            Ok(listeners) => return Ok(listeners),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let taken = addresses.iter_mut().find(|address| error.to_string().contains(&address.to_string()));
                match taken {
                    Some(Address::Tcp { port, .. }) if options.next_free_port && *port < u16::MAX => {
                        say!("Port {port} is in use by another program; trying {}.", *port + 1);
                        *port += 1;
                    }
                    Some(address) => {
                        let address = address.clone();
                        return Err(RunError::AddressInUse { address, error: error.to_string() });
                    }
                    None => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
