//! Replaces this process with the Python interpreter that runs an application.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

use super::find_python::find_python;
use crate::{RunError, RunErrorKind};

/// The Python code that runs the package's command, or prints how to install the package. Checking first whether it is
/// installed would cost a second start of the interpreter.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// Where the package's sources were when this command was compiled.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/python");

/// Runs the package's command with these arguments, in the interpreter `asked` for or in the one that is found. On Unix
/// the interpreter replaces this process; elsewhere it is a child.
///
/// # Errors
/// Why no interpreter can be run; the exit code of a child that failed.
pub fn exec_python(asked: Option<&Path>, arguments: &[OsString]) -> Result<(), RunError> {
    let python = find_python(asked).map_err(RunErrorKind::Reload)?;
    let mut command = Command::new(&python);
    let bootstrap = BOOTSTRAP.replace("VERSION", env!("CARGO_PKG_VERSION")).replace("\"SOURCE\"", &literal(PACKAGE));
    command.arg("-c").arg(bootstrap).args(arguments);
    match exec(command) {
        Ok(0) => Ok(()),
        Ok(code) => Err(RunErrorKind::Exit(code).into()),
        Err(error) => {
            let python = python.display();
            Err(RunErrorKind::Reload(format!(
                "'{python}' can't be run ({error}); name an interpreter with --python PATH"
            ))
            .into())
        }
    }
}

/// Returns a Python string literal.
fn literal(text: &str) -> String {
    let escaped: String = text.chars().map(|character| format!("\\U{:08x}", u32::from(character))).collect();
    format!("\"{escaped}\"")
}

/// Replaces this process; returns only if that fails.
#[cfg(unix)]
fn exec(mut command: Command) -> io::Result<i32> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

/// Runs a child and returns its exit code.
#[cfg(not(unix))]
fn exec(mut command: Command) -> io::Result<i32> {
    // CTRL+C reaches both processes; only the child reacts to it.
    let _ = ctrlc::set_handler(|| ());
    Ok(command.status()?.code().unwrap_or(1))
}
