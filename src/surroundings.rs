//! What the options put around the application: hosts, CGI scripts and static files.

use std::sync::Arc;

use amboss_core::{Address, Application};
use amboss_toolkit::files::StaticFiles;
use amboss_toolkit::middleware::{AllowedHosts, VirtualHosts};

use crate::error::{RunError, RunErrorKind};
use crate::options::RunOptions;

/// The advice on the page for a host that is not allowed.
const ADVICE: &str = "If the server is yours, start it with --allowed-host NAME, or add the name to allowed_hosts.";

/// Puts the middleware that the options ask for around an application. From the outside: the check of the host, then
/// static files and CGI scripts, which are the same for all hosts, then the applications of the hosts.
///
/// # Errors
/// A folder or a file that can't be served, a prefix or a host that can't be used.
pub(crate) fn wrap(app: Arc<dyn Application>, options: &RunOptions) -> Result<Arc<dyn Application>, RunError> {
    let mut app = app;
    if !options.hosts.is_empty() {
        let mut hosts = VirtualHosts::new(app);
        for (host, app) in &options.hosts {
            hosts = hosts.host(host, app.clone()).map_err(unusable)?;
        }
        app = Arc::new(hosts);
    }
    #[cfg(unix)]
    for (number, (prefix, folder)) in options.cgi.iter().enumerate() {
        let is_same = |earlier: &(String, _)| earlier.0.trim_end_matches('/') == prefix.trim_end_matches('/');
        if options.cgi[..number].iter().any(is_same) {
            return Err(unusable(format!("the prefix {prefix:?} of CGI scripts is given twice: choose another one")));
        }
        let scripts = amboss_toolkit::cgi::CgiFolder::new(prefix, folder).map_err(unusable)?;
        app = Arc::new(scripts.with_fallback(app));
    }
    if !options.static_files.is_empty() {
        let mut files = StaticFiles::new(app);
        for (prefix, path) in &options.static_files {
            files = if path.is_file() {
                files.file(prefix, path)
            } else {
                files.folder_with_options(prefix, path, options.folder_options.clone())
            }
            .map_err(unusable)?;
        }
        app = Arc::new(files);
    }
    if let Some(allowed) = &options.allowed_hosts {
        app = Arc::new(AllowedHosts::new(app, allowed.iter().map(String::as_str)).advice(ADVICE));
    }
    Ok(app)
}

/// Adds the names of the addresses to the hosts that are allowed.
pub(crate) fn allow_bound_names(options: &mut RunOptions, addresses: &[Address]) {
    if let Some(allowed) = &mut options.allowed_hosts {
        allowed.extend(addresses.iter().filter_map(|address| match address {
            Address::Tcp { host, .. } => Some(host.clone()),
            _ => None,
        }));
    }
}

/// Checks that [`wrap`] will succeed, for a supervisor, which does not load the application.
///
/// # Errors
/// Those of `wrap`.
#[cfg(all(unix, feature = "reload"))]
pub(crate) fn check(options: &RunOptions) -> Result<(), RunError> {
    let none =
        |_: &mut amboss_core::Environ<'_>, _: &mut dyn amboss_core::StartResponse| Ok(amboss_core::Body::empty());
    wrap(Arc::new(none), options).map(drop)
}

fn unusable(error: impl std::fmt::Display) -> RunError {
    RunErrorKind::Options(error.to_string().into()).into()
}
