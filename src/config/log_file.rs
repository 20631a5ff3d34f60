//! A file that `--log-file` or one of its siblings names. Lines are appended to it, and it is reopened by its name after it was moved away.

use crate::sync::lock;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A function that reopens the log.
pub type ReopenLogs = Arc<dyn Fn() + Send + Sync>;

/// The open file, for the log.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    name: Arc<Name>,
}

/// The name of the file, for the signal that reopens it.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    /// The reopened file, until the next write takes it. A write does not wait for this lock: a process that is forked
    /// while another thread holds it would find it locked forever.
    next: Mutex<Option<File>>,
}

impl Name {
    /// Opens the file that has the name now; the next line goes there. If that fails, the old file stays in use.
    pub(super) fn reopen(&self) {
        match append(&self.path) {
            Ok(file) => *lock(&self.next) = Some(file),
            Err(error) => {
                let path = self.path.display();
                say!("amboss: can't reopen the log file '{path}', so the old one stays in use: {error}");
            }
        }
    }

    /// Returns a pattern for the reloader to ignore: the file, and the names to which it is moved.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn pattern(&self) -> Option<String> {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        Some(globset::escape(path.to_str()?) + "*")
    }
}

impl LogFile {
    /// Opens the file, and creates it if it does not exist. `created` is called with a new file.
    pub(super) fn open(path: &Path, created: impl FnOnce(&File)) -> Result<LogFile, String> {
        let new = OpenOptions::new().append(true).create_new(true).open(path);
        let file = match new {
            Ok(file) => {
                created(&file);
                Ok(file)
            }
            // The file exists, or can't be created for a reason that this call finds as well.
            Err(_) => append(path),
        };
        let file = file.map_err(|error| unwritable(path, &error))?;
        // An absolute path, so that it still means this file if the process changes its directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(LogFile { file, name: Arc::new(Name { path, next: Mutex::new(None) }) })
    }

    /// Checks that the file can be opened, or its directory exists, without creating the file.
    pub(super) fn check(path: &Path) -> Result<(), String> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match OpenOptions::new().append(true).open(path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => Ok(()),
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    pub(super) fn name(&self) -> Arc<Name> {
        self.name.clone()
    }

    fn file(&mut self) -> &mut File {
        if let Some(next) = self.name.next.try_lock().ok().and_then(|mut next| next.take()) {
            self.file = next;
        }
        &mut self.file
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    /// Writes to one file, so that no line is split between two.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Takes the reopened file, so that the old one is closed.
        self.file().flush()
    }
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("can't write to the log file '{}' ({error}); name a file in an existing directory", path.display())
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_forked_while_the_file_is_reopened_writes_to_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile::open(&path, |_| ()).unwrap();
        let name = log.name();
        // In a forked process, no thread would unlock it.
        let held = name.next.lock();
        log.write_all(b"one\n").unwrap();
        drop(held);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn reopening_leaves_a_moved_file_and_keeps_it_if_there_is_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        std::fs::write(&path, "before\n").unwrap();
        let mut log = LogFile::open(&path, |_| ()).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.write_all(b"two\n").unwrap();
        log.name().reopen();
        log.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\none\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        log.name().reopen();
        log.write_all(b"four\n").unwrap();
    }
}
