//! The Python that runs an application: which one, and how it takes this process's place.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::RunError;

/// Runs the package's command, or says how to install it. Asking first would be a second start of the interpreter.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// Where the package's sources lay when this was compiled.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/python");

/// What stands at the top of a project, where a search for its virtual environment ends.
const TOP: [&str; 3] = ["pyproject.toml", "setup.py", ".git"];

/// Names of a virtual environment's folder.
const ENVIRONMENTS: [&str; 2] = [".venv", "venv"];

/// The same arguments for the package's command, in the interpreter that was `asked` for, or in the one that is found:
/// on Unix in place of this process, elsewhere beside it.
///
/// # Errors
/// No interpreter; and the exit code of one that did not replace this process.
pub fn become_python(asked: Option<&Path>, arguments: &[OsString]) -> Result<(), RunError> {
    let python = find(asked).map_err(RunError::Reload)?;
    let mut command = Command::new(&python);
    let bootstrap = BOOTSTRAP.replace("VERSION", env!("CARGO_PKG_VERSION")).replace("\"SOURCE\"", &quoted(PACKAGE));
    command.arg("-c").arg(bootstrap).args(arguments);
    replace(command)
        .map_err(|error| {
            let python = python.display();
            RunError::Reload(format!("'{python}' can't be run ({error}); name an interpreter with --python PATH"))
        })
        .and_then(|code| if code == 0 { Ok(()) } else { Err(RunError::Exit(code)) })
}

/// A string of Python's.
fn quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|character| format!("\\U{:08x}", u32::from(character))).collect();
    format!("\"{escaped}\"")
}

/// Comes back only with an error.
#[cfg(unix)]
fn replace(mut command: Command) -> io::Result<i32> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> io::Result<i32> {
    // Both get CTRL+C; the one that serves decides.
    let _ = ctrlc::set_handler(|| ());
    Ok(command.status()?.code().unwrap_or(1))
}

/// The interpreter to use.
///
/// # Errors
/// A sentence that says where it was looked for, and what to do.
fn find(asked: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(asked) = asked {
        return named(asked);
    }
    if let Some(folder) = env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        return in_environment(&folder).ok_or_else(|| {
            let folder = folder.display();
            format!(
                "VIRTUAL_ENV is '{folder}', and there is no interpreter; activate another one, or use --python PATH"
            )
        });
    }
    let here = env::current_dir().map_err(|error| format!("the current folder can't be found: {error}"))?;
    let folders = project(&here, home().as_deref());
    for environment in folders.iter().flat_map(|folder| ENVIRONMENTS.map(|name| folder.join(name))) {
        if let Some(python) = in_environment(&environment) {
            return Ok(python);
        }
        if environment.join("pyvenv.cfg").exists() {
            let environment = environment.display();
            return Err(format!(
                "the virtual environment '{environment}' has no interpreter any more; make it anew, or use \
                 --python PATH"
            ));
        }
    }
    ["python3", "python"].into_iter().find_map(|name| in_path(OsStr::new(name))).ok_or_else(|| {
        let folders: Vec<String> = folders.iter().map(|folder| format!("'{}'", folder.display())).collect();
        format!(
            "there is no Python to run APP: VIRTUAL_ENV is not set, there is no .venv or venv in {}, and no python3 or \
             python in the folders of PATH; install Python 3.9 or newer, or name one with --python PATH",
            folders.join(" or ")
        )
    })
}

/// A file, the folder of a virtual environment, or a name that the shell would find.
fn named(asked: &Path) -> Result<PathBuf, String> {
    let shown = asked.display();
    if asked.is_dir() {
        return in_environment(asked).ok_or_else(|| {
            format!("'{shown}' is no virtual environment; name one, or the interpreter itself, as in --python python3")
        });
    }
    if is_program(asked) {
        // Without a folder it would be looked for in PATH.
        return std::path::absolute(asked).map_err(|error| format!("'{shown}' can't be found: {error}"));
    }
    if asked.exists() {
        return Err(format!(
            "'{shown}' can't be executed; name an interpreter, or the folder of a virtual environment"
        ));
    }
    let bare = (asked.components().count() == 1).then(|| in_path(asked.as_os_str())).flatten();
    bare.ok_or_else(|| {
        format!("there is no interpreter '{shown}'; name one that is there, or the folder of a virtual environment")
    })
}

/// A virtual environment's interpreter, by its own name: links lead out of the environment.
fn in_environment(folder: &Path) -> Option<PathBuf> {
    let names = if cfg!(windows) { ["Scripts/python.exe", "python.exe"] } else { ["bin/python", "bin/python3"] };
    let python = names.into_iter().map(|name| folder.join(name)).find(|python| is_program(python))?;
    std::path::absolute(python).ok()
}

fn in_path(name: &OsStr) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut name = name.to_owned();
    if cfg!(windows) && Path::new(&name).extension().is_none() {
        name.push(".exe");
    }
    env::split_paths(&path).map(|folder| folder.join(&name)).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    let executable =
        |file: &std::fs::Metadata| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let executable = |_: &std::fs::Metadata| true;
    path.metadata().is_ok_and(|file| file.is_file() && executable(&file))
}

/// The current folder and those around it, up to the top of the project. Without a top it is the current folder alone:
/// what lies around is somebody else's, and so is a home folder.
fn project(here: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let inside = here.ancestors().take_while(|folder| *folder == here || Some(*folder) != home);
    let folders: Vec<PathBuf> = inside.map(Path::to_owned).collect();
    let top = folders.iter().position(|folder| TOP.iter().any(|name| folder.join(name).exists()));
    folders.into_iter().take(top.unwrap_or(0) + 1).collect()
}

/// As the current folder is written: without links.
fn home() -> Option<PathBuf> {
    let home = PathBuf::from(env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" })?);
    Some(home.canonicalize().unwrap_or(home))
}
