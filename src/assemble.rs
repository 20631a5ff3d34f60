//! Turning options into a server: binds the sockets, resolves the settings, and wraps the application.

use std::sync::Arc;

use amboss_core::{make_server_on, Address, Application, Listeners, ServeError, Server};

use crate::app_loader::{AppLoader, ServeEnd};
use crate::error::{RunError, RunErrorKind};
use crate::live_reload::{BuildId, LiveReload};
use crate::options::RunOptions;
use crate::worker::Worker;

/// Makes the server of this process. Around the application are, from the outside:
///
/// 1. the answers to health checks, for any host;
/// 2. the root path, which all that follow have in their environ, and the field with the ID of the request;
/// 3. the check of the host, so that nothing inside says a word to another site;
/// 4. live reload, which adds its script to the pages of all that follow;
/// 5. the debugger, which explains the failures of all that follow;
/// 6. static files, CGI scripts, and the applications of hosts (`surroundings`).
pub(crate) fn assemble_server(
    listeners: Listeners,
    app: Arc<dyn Application>,
    options: RunOptions,
    build_id: BuildId,
) -> Result<Server, RunError> {
    #[cfg(feature = "toolkit")]
    let (root_path, health) = (options.root_path.clone(), options.health.clone());
    #[cfg(feature = "toolkit")]
    let allowed_hosts = crate::surroundings::allowed_hosts(&options, build_id.is_error_page);
    #[cfg(feature = "toolkit")]
    let app = crate::surroundings::wrap(app, &options)?;
    #[cfg(feature = "debugger")]
    let app = crate::debug_pages::wrap(app, &options);
    let live_reload = options.live_reload;
    let (concurrency, mut settings) = options.resolve()?;
    let mut app = app;
    let mut shutdown = None;
    if live_reload {
        let live = LiveReload::new(app, build_id, concurrency, &mut settings);
        shutdown = Some(live.shutdown_slot());
        app = Arc::new(live);
    }
    #[cfg(feature = "toolkit")]
    let app = crate::surroundings::with_request_id(app, settings.request_ids);
    #[cfg(feature = "toolkit")]
    let app = crate::surroundings::with_root_path(crate::surroundings::restrict_hosts(app, allowed_hosts), root_path)?;
    #[cfg(feature = "toolkit")]
    let app = crate::surroundings::with_health(app, health);
    let server = make_server_on(listeners, app, concurrency, settings)?;
    if let Some(shutdown) = shutdown {
        shutdown.set(server.shutdown_handle());
    }
    Ok(server)
}

/// Serves until the server stops, and ends what would be left behind then. After that follows `then`. If the server is a
/// guest, this may return before it stops.
pub(crate) fn serve(
    loader: &mut impl AppLoader,
    server: Server,
    then: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    loader.serve(server, ServeEnd::default().then(end_children).then(then))
}

/// Ends what this process has started and would leave behind: CGI scripts that are still running, and programs of hosts.
pub(crate) fn end_children() {
    #[cfg(all(unix, feature = "reload", feature = "cli"))]
    crate::host_program::end_programs();
    #[cfg(all(unix, feature = "toolkit"))]
    amboss_toolkit::cgi::kill_scripts();
}

/// Loads the application, and sets the options that depend on it: the applications of hosts, and the settings.
pub(crate) fn load_app(
    loader: &mut impl AppLoader,
    worker: &Worker,
    options: &mut RunOptions,
) -> Result<Arc<dyn Application>, RunError> {
    let app = loader.load_app(worker)?;
    options.guest_of = loader.guest_of().or_else(|| options.guest_of.take());
    #[cfg(feature = "toolkit")]
    crate::surroundings::set_hosts(options, loader.hosts());
    loader.configure(&mut options.settings)?;
    Ok(app)
}

/// Listens on the addresses, or on the sockets passed by systemd.
pub(crate) fn bind(addresses: &[Address], options: &RunOptions) -> Result<Listeners, RunError> {
    if options.from_systemd {
        let listeners = Listeners::from_systemd()?;
        if !listeners.is_empty() {
            return Ok(listeners);
        }
    }
    let mut addresses = addresses.to_vec();
    loop {
        let error = match Listeners::bind(&addresses, &options.settings) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => RunError::from(error),
        };
        let taken = match error.kind() {
            RunErrorKind::AddressInUse { address, .. } if options.next_free_port => Some(address),
            _ => None,
        };
        match taken.and_then(|taken| addresses.iter_mut().find(|address| *address == taken)) {
            Some(Address::Tcp { port, .. }) if *port < u16::MAX => {
                say!("Port {port} is in use by another program; trying {}.", *port + 1);
                *port += 1;
            }
            _ => return Err(error),
        }
    }
}
