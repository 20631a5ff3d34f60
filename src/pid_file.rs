//! The file with the process ID of the server, for programs that manage it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{test_kill_process, Pid};

use crate::error::{RunError, RunErrorKind};

/// The file, while the server runs. Dropping the value removes it, in the process that wrote it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    process: u32,
}

impl PidFile {
    /// Writes the process ID of this process into a file, which replaces one that a process has left behind.
    ///
    /// # Errors
    /// The process that the file names is running, or the file can't be written.
    pub(crate) fn write(path: &Path) -> Result<PidFile, RunError> {
        let shown = path.display();
        let process = std::process::id();
        if let Some(other) = running(path).filter(|other| *other != process) {
            return Err(RunErrorKind::Reload(format!(
                "the process {other} in the PID file '{shown}' is running; stop it, or remove the file if it is another \
                 program"
            ))
            .into());
        }
        let written = std::path::absolute(path).and_then(|path| write_atomically(&path, process).map(|()| path));
        match written {
            Ok(path) => Ok(PidFile { path, process }),
            Err(error) => Err(RunErrorKind::Reload(format!(
                "can't write the PID file '{shown}' ({error}); name a file in an existing directory"
            ))
            .into()),
        }
    }

    /// Returns the file's path.
    #[cfg(target_os = "linux")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A forked process has a copy of this value.
        if std::process::id() != self.process || named(&self.path) != Some(self.process) {
            return;
        }
        if fs::remove_file(&self.path).is_err() {
            // The process may have given up the permission to change the directory. An empty file names no process.
            let _ = fs::write(&self.path, "");
        }
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
fn write_atomically(path: &Path, process: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{process}"));
    let temporary = PathBuf::from(temporary);
    let mut file = fs::File::create(&temporary)?;
    writeln!(file, "{process}")?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))
}
