//! Finds the Python interpreter for an application: the one that is named, that of the active virtual environment, that
//! of a virtual environment in the project, or the one on `PATH`.

use std::env;
use std::path::{Path, PathBuf};

/// Files and directories that mark the top of a project, where the search for its virtual environment ends.
const PROJECT_MARKERS: [&str; 3] = ["pyproject.toml", "setup.py", ".git"];

/// Usual names for the directory of a virtual environment.
const ENVIRONMENT_NAMES: [&str; 2] = [".venv", "venv"];

/// Returns the interpreter to use. `asked` is an interpreter, or the directory of a virtual environment.
///
/// # Errors
/// A message that says where the search took place, and what to do.
pub(super) fn find_python(asked: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(asked) = asked {
        return named(asked);
    }
    if let Some(directory) = env::var_os("VIRTUAL_ENV").filter(|directory| !directory.is_empty()) {
        let directory = PathBuf::from(directory);
        return in_environment(&directory).ok_or_else(|| {
            let directory = directory.display();
            format!(
                "VIRTUAL_ENV is '{directory}', which has no Python interpreter; activate another virtual environment, \
                 or use --python PATH"
            )
        });
    }
    let here = env::current_dir().map_err(|error| format!("can't determine the current directory: {error}"))?;
    let directories = project_directories(&here, home().as_deref());
    for environment in directories.iter().flat_map(|directory| ENVIRONMENT_NAMES.map(|name| directory.join(name))) {
        if let Some(python) = in_environment(&environment) {
            return Ok(python);
        }
        if environment.join("pyvenv.cfg").exists() {
            let environment = environment.display();
            return Err(format!(
                "the virtual environment '{environment}' no longer has an interpreter; recreate it, or use --python PATH"
            ));
        }
    }
    ["python3", "python"].into_iter().find_map(|name| which::which(name).ok()).ok_or_else(|| {
        let directories: Vec<String> =
            directories.iter().map(|directory| format!("'{}'", directory.display())).collect();
        format!(
            "found no Python to run APP: VIRTUAL_ENV is not set, there is no .venv or venv in {}, and no python3 or \
             python on PATH; install Python 3.9 or newer, or name an interpreter with --python PATH",
            directories.join(" or ")
        )
    })
}

/// Returns the interpreter that was asked for: a file, the directory of a virtual environment, or a name on `PATH`.
fn named(asked: &Path) -> Result<PathBuf, String> {
    let shown = asked.display();
    if asked.is_dir() {
        return in_environment(asked).ok_or_else(|| {
            format!(
                "'{shown}' is not a virtual environment; name one, or the interpreter itself, as in --python python3"
            )
        });
    }
    if let Some(python) = executable(asked) {
        return Ok(python);
    }
    if asked.exists() {
        return Err(format!(
            "'{shown}' is not executable; name an interpreter, or the directory of a virtual environment"
        ));
    }
    which::which(asked).map_err(|_| {
        format!("there is no interpreter '{shown}'; name an existing one, or the directory of a virtual environment")
    })
}

/// Returns the interpreter of a virtual environment. Its links are not followed, because they lead out of the
/// environment.
fn in_environment(directory: &Path) -> Option<PathBuf> {
    let names = if cfg!(windows) { ["Scripts/python.exe", "python.exe"] } else { ["bin/python", "bin/python3"] };
    names.into_iter().find_map(|name| executable(&directory.join(name)))
}

/// Returns the absolute path of a file if it is executable. `PATH` is not searched.
fn executable(path: &Path) -> Option<PathBuf> {
    which::which(std::path::absolute(path).ok()?).ok()
}

/// Returns the current directory and its parents up to the top of the project. If none of them is the top of a project,
/// returns the current directory alone, because its parents may not belong to the application. A parent that is the home
/// directory ends the list.
fn project_directories(here: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let inside = here.ancestors().take_while(|directory| *directory == here || Some(*directory) != home);
    let directories: Vec<PathBuf> = inside.map(Path::to_owned).collect();
    let is_top = |directory: &PathBuf| PROJECT_MARKERS.iter().any(|name| directory.join(name).exists());
    let top = directories.iter().position(is_top);
    directories.into_iter().take(top.unwrap_or(0) + 1).collect()
}

/// Returns the home directory without links, as [`env::current_dir`] returns the current one.
fn home() -> Option<PathBuf> {
    let home = env::home_dir()?;
    Some(home.canonicalize().unwrap_or(home))
}
