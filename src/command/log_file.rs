//! The file that `--log-file` names: appended to, and opened again by its name when somebody has moved it away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file, for the log that writes.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    name: Arc<Name>,
}

/// Its name, for the signal that reopens.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    /// Opened anew, and not written to yet. Whoever writes does not wait for it: a process may be forked while another
    /// thread puts it here, and has the lock for good.
    next: Mutex<Option<File>>,
}

impl Name {
    /// From the next line on lines go to the file that has the name now. What can't be opened leaves the old one in use.
    pub(super) fn reopen(&self) {
        match append(&self.path) {
            Ok(file) => *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(file),
            Err(error) => say!("amboss: can't reopen the log file '{}': {error}", self.path.display()),
        }
    }

    /// For a watch that must not react to it: the file, and the names it is moved to.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn pattern(&self) -> Option<String> {
        let plain = |letter| if matches!(letter, '*' | '?' | '[') { format!("[{letter}]") } else { letter.to_string() };
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        Some(path.to_str()?.chars().map(plain).collect::<String>() + "*")
    }
}

impl LogFile {
    /// Opens it; makes it if it isn't there.
    pub(super) fn open(path: &Path) -> Result<LogFile, String> {
        let file = append(path).map_err(|error| {
            format!("can't write to the log file '{}' ({error}); name a file in a folder that is there", path.display())
        })?;
        // The name has to mean the same later.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(LogFile { file, name: Arc::new(Name { path, next: Mutex::new(None) }) })
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

    /// To one file, so that no line is torn between two.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Lets go of the old one.
        self.file().flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_forked_while_the_file_was_opened_anew_writes_to_the_old_one() {
        let path = std::env::temp_dir().join(format!("amboss-log-fork-{}", std::process::id()));
        let mut log = LogFile::open(&path).unwrap();
        let name = log.name();
        // In the copy nobody is there to give it back.
        let held = name.next.lock();
        log.write_all(b"one\n").unwrap();
        drop(held);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_is_left_behind_and_one_that_cannot_be_opened_is_kept() {
        let folder = std::env::temp_dir().join(format!("amboss-log-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, moved) = (folder.join("log"), folder.join("log.1"));
        std::fs::write(&path, "before\n").unwrap();
        let mut log = LogFile::open(&path).unwrap();
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
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
