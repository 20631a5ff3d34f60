//! What the options put around the application: hosts, CGI scripts, static files, and the check of the host.

use std::path::Path;
use std::sync::Arc;

use amboss_core::{Address, Application};
use amboss_toolkit::files::StaticFiles;
use amboss_toolkit::middleware::{check_host, AllowedHosts, Health, RequestIdField, RootPath, VirtualHosts};

use crate::error::{RunError, RunErrorKind};
use crate::options::RunOptions;

/// The advice on the page for a host that is not allowed.
const ADVICE: &str = "If the server is yours, start it with --allowed-host NAME, or add the name to allowed_hosts.";

/// Puts the middleware that the options ask for around an application. From the outside: static files and CGI scripts,
/// which are the same for all hosts, then the applications of the hosts. `assemble` puts the debugger, live reload and
/// the check of the host around all of them.
///
/// Of static files and scripts, those with the longest prefix come first. A script below a folder that is served, as in
/// `--static /=site --cgi /cgi-bin=site/cgi-bin`, is thus run, and its source is not sent.
///
/// # Errors
/// A folder or a file that can't be served, a prefix or a host that can't be used.
pub(crate) fn wrap(app: Arc<dyn Application>, options: &RunOptions) -> Result<Arc<dyn Application>, RunError> {
    options.allowed_hosts.iter().flatten().try_for_each(|host| check_host(host)).map_err(unusable)?;
    let mut app = app;
    if !options.hosts.is_empty() {
        let mut hosts = VirtualHosts::new(app);
        for (host, app) in &options.hosts {
            hosts = hosts.host(host, app.clone()).map_err(unusable)?;
        }
        app = Arc::new(hosts);
    }
    let mounts = sorted_mounts(options)?;
    for mounts in mounts.chunk_by(|one, other| one.is_cgi == other.is_cgi) {
        app = if mounts[0].is_cgi { with_scripts(app, mounts)? } else { with_files(app, mounts, options)? };
    }
    Ok(app)
}

/// A folder or a file below a prefix.
struct Mount<'o> {
    prefix: &'o str,
    path: &'o Path,
    is_cgi: bool,
}

/// The static files and the scripts, those with the shortest prefix first.
fn sorted_mounts(options: &RunOptions) -> Result<Vec<Mount<'_>>, RunError> {
    let files = options.static_files.iter().map(|(prefix, path)| Mount { prefix, path, is_cgi: false });
    let mut mounts: Vec<_> = files.collect();
    #[cfg(unix)]
    mounts.extend(options.cgi.iter().map(|(prefix, path)| Mount { prefix, path, is_cgi: true }));
    let key = |mount: &Mount<'_>| {
        let prefix = mount.prefix.trim_end_matches('/');
        (prefix.len(), prefix.to_owned())
    };
    mounts.sort_by_cached_key(key);
    match mounts.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        Some(pair) => {
            let prefix = pair[1].prefix;
            Err(unusable(format!("the prefix {prefix:?} is given twice for files and scripts; leave one of them out")))
        }
        None => Ok(mounts),
    }
}

fn with_files(
    app: Arc<dyn Application>,
    mounts: &[Mount<'_>],
    options: &RunOptions,
) -> Result<Arc<dyn Application>, RunError> {
    let mut files = StaticFiles::new(app);
    for Mount { prefix, path, .. } in mounts {
        files = if path.is_file() {
            files.file_with_options(prefix, path, &options.folder_options)
        } else {
            files.folder_with_options(prefix, path, options.folder_options.clone())
        }
        .map_err(unusable)?;
    }
    Ok(Arc::new(files))
}

#[cfg(unix)]
fn with_scripts(mut app: Arc<dyn Application>, mounts: &[Mount<'_>]) -> Result<Arc<dyn Application>, RunError> {
    for Mount { prefix, path, .. } in mounts {
        let scripts = amboss_toolkit::cgi::CgiFolder::new(prefix, path).map_err(unusable)?;
        app = Arc::new(scripts.with_fallback(app));
    }
    Ok(app)
}

#[cfg(not(unix))]
fn with_scripts(app: Arc<dyn Application>, _: &[Mount<'_>]) -> Result<Arc<dyn Application>, RunError> {
    Ok(app)
}

/// Sets the applications of hosts; a host that is in the options already gets the new application.
pub(crate) fn set_hosts(options: &mut RunOptions, hosts: Vec<(String, Arc<dyn Application>)>) {
    for (host, app) in hosts {
        match options.hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, known)) => *known = app,
            None => options.hosts.push((host, app)),
        }
    }
}

/// Answers health checks at a path, if there is one.
pub(crate) fn with_health(app: Arc<dyn Application>, path: Option<String>) -> Arc<dyn Application> {
    match path {
        Some(path) => Arc::new(Health::new(app, &path)),
        None => app,
    }
}

/// Puts the field with the ID of each request around an application, if requests have IDs.
pub(crate) fn with_request_id(app: Arc<dyn Application>, has_ids: bool) -> Arc<dyn Application> {
    if has_ids {
        return Arc::new(RequestIdField::new(app));
    }
    app
}

/// Puts the root path around an application.
///
/// # Errors
/// The root path is not a path.
pub(crate) fn with_root_path(
    app: Arc<dyn Application>,
    root_path: Option<String>,
) -> Result<Arc<dyn Application>, RunError> {
    match root_path {
        Some(path) => Ok(Arc::new(RootPath::new(app, &path).map_err(unusable)?)),
        None => Ok(app),
    }
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
    let hosts = options.hosts.iter().map(|(host, _)| host.clone());
    Some([allowed, options.bound_names.clone(), hosts.collect()].concat())
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use amboss_core::{create_environ, run_wsgi_app};
    use amboss_testkit::TempDir;
    use amboss_toolkit::Response;

    use super::*;

    fn script(dir: &TempDir, name: &str) {
        dir.write(name, "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nran'\n");
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_script_below_a_folder_of_files_is_run_and_its_source_is_not_sent() {
        let dir = TempDir::new("surroundings");
        script(&dir, "site/a/cgi/run");
        dir.write("site/a.txt", "a");
        dir.write("logo", "logo");
        let options = RunOptions {
            static_files: vec![("/".into(), dir.join("site")), ("/a/cgi/logo".into(), dir.join("logo"))],
            cgi: vec![("/a/cgi".into(), dir.join("site/a/cgi"))],
            ..RunOptions::default()
        };
        let app = wrap(Arc::new(Response::text("app")), &options).unwrap();
        for (path, body) in [
            ("/a/cgi/run", "ran"),
            ("/a/cgi/run/x", "ran"),
            ("/a%2fcgi/run", "ran"),
            ("//a/cgi/run", "ran"),
            ("/a//cgi/run", ""),
            ("/a/./cgi/run", "app"),
            ("/a/cgi/logo", "logo"),
            ("/a.txt", "a"),
            ("/none", "app"),
        ] {
            let response =
                run_wsgi_app(&app, &mut create_environ(path, "http://localhost").unwrap().environ()).unwrap();
            let (text, is_redirect) = (String::from_utf8(response.body).unwrap(), response.status == 308);
            assert!(if body.is_empty() { is_redirect } else { text == body }, "{path}: {} {text}", response.status);
        }
    }

    #[test]
    fn a_prefix_of_files_and_of_scripts_is_refused() {
        let dir = TempDir::new("surroundings");
        script(&dir, "cgi/run");
        for (files, cgi) in [(&["/a"][..], &["/a/"][..]), (&["/a", "/a/"], &[]), (&[], &["/a", "/a"])] {
            let mounts =
                |prefixes: &[&str]| prefixes.iter().map(|prefix| ((*prefix).to_owned(), dir.join("cgi"))).collect();
            let options = RunOptions { static_files: mounts(files), cgi: mounts(cgi), ..RunOptions::default() };
            let error = check(&options).unwrap_err().to_string();
            assert!(error.contains("\"/a") && error.contains("twice"), "{error}");
        }
    }

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
