//! The file with the process ID of the server, for programs that manage it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::process::{test_kill_process, Pid};

use crate::error::{RunError, RunErrorKind};
use crate::sync::lock;

/// The file, while the server runs. Dropping the value removes it, in the process that wrote it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    process: u32,
}

impl PidFile {
    /// Writes the process ID of this process into a file, which replaces one that a process has left behind. `created` is
    /// called with the new file.
    ///
    /// # Errors
    /// The process that the file names is running, or the file can't be written.
    pub(crate) fn write(path: &Path, created: impl Fn(&fs::File)) -> Result<PidFile, RunError> {
        let shown = path.display();
        let process = std::process::id();
        if let Some(other) = running(path).filter(|other| *other != process) {
            return Err(RunErrorKind::Reload(format!(
                "the process {other} in the PID file '{shown}' is running; stop it, or remove the file if it is another \
                 program"
            ))
            .into());
        }
        let written = std::path::absolute(path).and_then(|path| {
            write_atomically(&path, process, &created)?;
            Ok(path)
        });
        match written {
            Ok(path) => {
                *lock(&CURRENT) = Some(path.clone());
                Ok(PidFile { path, process })
            }
            Err(error) => Err(RunErrorKind::Reload(format!(
                "can't write the PID file '{shown}' ({error}); name a file in an existing directory"
            ))
            .into()),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A forked process has a copy of this value.
        if std::process::id() == self.process {
            remove(&self.path);
        }
    }
}

/// The path of the file of this process.
static CURRENT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Removes the file of this process, if there is one. For a process that exits without dropping its values.
pub(crate) fn remove_current() {
    if let Some(path) = lock(&CURRENT).take() {
        remove(&path);
    }
}

/// Removes a file that names this process.
fn remove(path: &Path) {
    if named(path) == Some(std::process::id()) && fs::remove_file(path).is_err() {
        // The process may have given up the permission to change the directory. An empty file names no process.
        let _ = fs::write(path, "");
    }
}

/// Returns the process that a file names.
fn named(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Returns the process that a file names, if it is running.
fn running(path: &Path) -> Option<u32> {
    let process = named(path)?;
    let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
    // A process of another user may not be signalled, and is running as well.
    matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)).then_some(process)
}

/// Writes a file that others see either complete or not at all.
fn write_atomically(path: &Path, process: u32, created: &impl Fn(&fs::File)) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{process}"));
    let temporary = PathBuf::from(temporary);
    // A process with the same number may have left one behind. What is there now is not opened, because it may be a link.
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    // Whatever the umask says, only the owner may write a file that others use to send signals.
    file.set_permissions(PermissionsExt::from_mode(0o644))?;
    created(&file);
    writeln!(file, "{process}")?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))
}
