//! Folders and files of tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A new folder below the system's temporary one. Dropping the value removes the folder with its contents.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a folder whose name contains `name`, the process id and a counter.
    #[track_caller]
    pub fn new(name: &str) -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("amboss-{name}-{}-{count}", std::process::id()));
        // A process with the same id may have been killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        TempDir(path.canonicalize().unwrap())
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of `name` in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the path of `name` in the folder as text, for command lines.
    pub fn join_str(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file in the folder, as [`write_atomically`] does.
    pub fn write(&self, name: &str, text: &str) {
        write_atomically(&self.join(name), text);
    }

    /// Writes a program in the folder by means of another process. If this process wrote it, a process that another test
    /// forks meanwhile would inherit the descriptor, and a file that is open for writing can't be executed (ETXTBSY).
    #[cfg(unix)]
    #[track_caller]
    pub fn write_program(&self, name: &str, text: &str) {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let status = std::process::Command::new("sh").args(["-c", write]).arg(path).arg(text).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a file under a second name (`…~`) and renames it, so that no reader sees half of it. Makes missing folders.
pub fn write_atomically(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut beside = path.as_os_str().to_owned();
    beside.push("~");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_new_and_goes_with_its_guard() {
        let (one, two) = (TempDir::new("files"), TempDir::new("files"));
        assert_ne!(one.path(), two.path());
        one.write("below/file", "first");
        one.write("below/file", "text");
        assert_eq!(fs::read_to_string(one.join_str("below/file")).unwrap(), "text");
        assert_eq!(fs::read_dir(one.join("below")).unwrap().count(), 1);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }
}
