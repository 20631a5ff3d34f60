//! What the configuration serves: a Python application, a folder, a program, or the built-in application.

use std::path::Path;

use super::values::Config;

/// Returns the name of the Python application; that of a factory ends with its call.
pub(crate) fn python_target(config: &Config) -> Option<String> {
    let target = config.app.as_deref().filter(|target| folder(target).is_none())?;
    let is_factory = config.python.factory && !target.ends_with(')');
    Some(match (is_factory, target.contains(':')) {
        (true, true) => format!("{target}()"),
        // Flask's usual name.
        (true, false) => format!("{target}:create_app()"),
        (false, _) => target.to_owned(),
    })
}

/// Returns the hosts with Python applications, and the names of these applications.
pub(crate) fn python_hosts(config: &Config) -> Vec<(String, String)> {
    let is_python = |target: &str| folder(target).is_none() && !is_program(target);
    config.site.vhost.iter().filter(|(_, target)| is_python(target)).cloned().collect()
}

/// Whether a Python application is served, as APP or for a host.
pub(crate) fn needs_python(config: &Config) -> bool {
    python_target(config).is_some() || !python_hosts(config).is_empty()
}

/// Whether a folder is served as the application, of the server or of a host.
pub(super) fn has_folder(config: &Config) -> bool {
    let is_folder = |target: &str| folder(target).is_some() && !is_program(target);
    config.app.as_deref().is_some_and(|target| folder(target).is_some())
        || config.site.vhost.iter().any(|(_, target)| is_folder(target))
}

/// Whether files are served.
pub(super) fn has_files(config: &Config) -> bool {
    has_folder(config) || !config.site.static_files.is_empty()
}

/// Returns a setting by which requests wait for another process in the thread of the server, and its name.
pub(super) fn blocking(config: &Config) -> Option<(&'static str, &'static str)> {
    #[cfg(unix)]
    if !config.site.cgi.is_empty() {
        return Some(("--cgi", "cgi"));
    }
    let has_program = config.site.vhost.iter().any(|(_, target)| is_program(target));
    has_program.then_some(("--vhost with a program", "vhost"))
}

/// Returns the hosts with programs, and the command lines of these.
#[cfg(all(unix, feature = "reload"))]
pub(crate) fn programs(config: &Config) -> Vec<(String, Vec<std::ffi::OsString>)> {
    config.site.vhost.iter().filter_map(|(host, target)| Some((host.clone(), program(target)?))).collect()
}

/// The words of a command line whose program is a file that can be executed, named by a path that begins with a dot or a
/// slash. The words are separated by spaces.
#[cfg(all(unix, feature = "reload"))]
fn program(target: &str) -> Option<Vec<std::ffi::OsString>> {
    use std::os::unix::fs::PermissionsExt;

    let mut words = target.split(' ').filter(|word| !word.is_empty());
    let path = words.next().filter(|path| ["./", "../", "/"].iter().any(|beginning| path.starts_with(beginning)))?;
    let metadata = Path::new(path).metadata().ok()?;
    let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 && !path.ends_with(".py");
    is_program.then(|| std::iter::once(path).chain(words).map(Into::into).collect())
}

/// Whether the application of a host is a program.
pub(super) fn is_program(target: &str) -> bool {
    #[cfg(all(unix, feature = "reload"))]
    return program(target).is_some();
    #[cfg(not(all(unix, feature = "reload")))]
    {
        let _ = target;
        false
    }
}

/// Returns the folder that an APP names: a path that begins with a dot or a slash and is no file of Python. Other paths
/// may be those of Python packages, for which the loader of Python applications has messages.
pub(crate) fn folder(target: &str) -> Option<&Path> {
    let path = Path::new(target);
    let begins_as_folder = matches!(target, "." | "..")
        || ["./", "../", "/", ".\\", "..\\"].iter().any(|beginning| target.starts_with(beginning))
        || cfg!(windows) && path.is_absolute();
    let names_python = target.contains(".py") || target.rsplit('/').next().is_some_and(|name| name.contains(':'));
    (begins_as_folder && (path.is_dir() || !names_python)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_names_a_folder() {
        for (target, is_folder) in [
            (".", true),
            ("..", true),
            ("./site", true),
            ("/srv/www", true),
            ("site/", false),
            ("parts/nowhere", false),
            ("../site/", true),
            ("/srv/app.py:app", false),
            ("./app:app", false),
            ("site", false),
            ("module:app", false),
            ("pkg/app.py", false),
            ("pkg/app.py:app", false),
            ("./app.py", false),
        ] {
            assert_eq!(folder(target).is_some(), is_folder, "{target}");
        }
    }
}
