//! What the options put around the application: hosts, CGI scripts, static files, and the check of the host.

use std::sync::Arc;

use amboss_core::{Address, Application};
use amboss_toolkit::files::StaticFiles;
use amboss_toolkit::middleware::{AllowedHosts, VirtualHosts};

use crate::error::{RunError, RunErrorKind};
use crate::options::RunOptions;

/// The advice on the page for a host that is not allowed.
const ADVICE: &str = "If the server is yours, start it with --allowed-host NAME, or add the name to allowed_hosts.";

/// Puts the middleware that the options ask for around an application. From the outside: static files and CGI scripts,
/// which are the same for all hosts, then the applications of the hosts. `assemble` puts the debugger, live reload and
/// the check of the host around all of them.
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
    for (prefix, folder) in &options.cgi {
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
    Ok(app)
}

/// Returns the hosts whose requests are answered; `None` if all are.
///
/// Live reload, the debugger and the error page are for the developer at this machine. By DNS rebinding, a page of
/// another site can read what they show, but only under the name of that site. So they imply a list of hosts.
pub(crate) fn allowed_hosts(options: &RunOptions, serves_error_page: bool) -> Option<Vec<String>> {
    #[cfg(feature = "debugger")]
    let use_debugger = options.use_debugger;
    #[cfg(not(feature = "debugger"))]
    let use_debugger = false;
    let is_for_developer = options.live_reload || use_debugger || serves_error_page;
    let allowed = options.allowed_hosts.clone().or_else(|| is_for_developer.then(Vec::new))?;
    Some([allowed, options.bound_names.clone()].concat())
}

/// Wraps an application so that it answers requests for these hosts alone. This is the outermost middleware: what is
/// inside does not see a request for another host.
pub(crate) fn restrict_hosts(app: Arc<dyn Application>, allowed: Option<Vec<String>>) -> Arc<dyn Application> {
    match allowed {
        Some(allowed) => Arc::new(AllowedHosts::new(app, allowed).advice(ADVICE)),
        None => app,
    }
}

/// Returns the names in addresses.
pub(crate) fn names_of(addresses: &[Address]) -> impl Iterator<Item = String> + '_ {
    addresses.iter().filter_map(|address| match address {
        Address::Tcp { host, .. } => Some(host.clone()),
        _ => None,
    })
}

/// Checks that [`wrap`] will succeed, for a supervisor, which does not load the application.
///
/// # Errors
/// Those of `wrap`.
pub(crate) fn check(options: &RunOptions) -> Result<(), RunError> {
    let none =
        |_: &mut amboss_core::Environ<'_>, _: &mut dyn amboss_core::StartResponse| Ok(amboss_core::Body::empty());
    wrap(Arc::new(none), options).map(drop)
}

fn unusable(error: impl std::fmt::Display) -> RunError {
    RunErrorKind::Options(error.to_string().into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_for_developers_imply_a_list_of_hosts() {
        let mut options = RunOptions { bound_names: vec!["dev.test".into()], ..RunOptions::default() };
        assert_eq!(allowed_hosts(&options, false), None);
        let bound = Some(vec!["dev.test".to_owned()]);
        assert_eq!(allowed_hosts(&options, true), bound, "the error page");
        options.live_reload = true;
        assert_eq!(allowed_hosts(&options, false), bound, "live reload");
        options.live_reload = false;
        #[cfg(feature = "debugger")]
        {
            options.use_debugger = true;
            assert_eq!(allowed_hosts(&options, false), bound, "the debugger");
            options.use_debugger = false;
        }
        options.allowed_hosts = Some(vec!["a.test".into()]);
        assert_eq!(allowed_hosts(&options, false), Some(vec!["a.test".into(), "dev.test".into()]));
    }
}
