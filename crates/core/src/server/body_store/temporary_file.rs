//! The temporary file of a body.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::StoreError;
use crate::server::io::fork_guard::ForkGuard;
use crate::server::sys;

/// An unnamed file that a process forked by the application does not keep open.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    /// Declared before the file, so that it is dropped before the descriptor is closed and its number can be reused.
    _fork_guard: ForkGuard,
    pub(super) file: File,
    /// The number of bytes written so far.
    pub(super) length: u64,
}

impl TemporaryFile {
    pub(super) fn new(file: File, length: u64) -> TemporaryFile {
        TemporaryFile { _fork_guard: ForkGuard::of_file(&file), file, length }
    }

    /// Creates an empty file in `directory`, or in the default directory.
    pub(super) fn create(directory: Option<&Path>) -> Result<TemporaryFile, StoreError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        /// The maximum number of names that are tried. Names are random, so even the first one hardly ever exists.
        const MAX_TRIES: usize = 8;
        let directory = directory_or_default(directory);
        let mut tries = 0;
        loop {
            // The name is random, so that no other process can create a file of that name in advance.
            let random = RandomState::new().hash_one(NUMBER.fetch_add(1, Ordering::Relaxed));
            let path = directory.join(format!(".amboss-body-{}-{random:016x}", std::process::id()));
            tries += 1;
            match sys::create_unlinked(&path) {
                Ok(file) => return Ok(TemporaryFile::new(file, 0)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MAX_TRIES => {}
                Err(error) => return Err(StoreError::Io(directory, error)),
            }
        }
    }

    /// Appends bytes. `directory` is named in the error.
    pub(super) fn append(&mut self, bytes: &[u8], directory: Option<&Path>) -> Result<(), StoreError> {
        sys::write_all_at(&self.file, bytes, self.length)
            .map_err(|error| StoreError::Io(directory_or_default(directory), error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Ends the protection from forks, and returns the file and its length.
    pub(super) fn into_parts(self) -> (File, u64) {
        (self.file, self.length)
    }
}

fn directory_or_default(directory: Option<&Path>) -> PathBuf {
    directory.map_or_else(default_directory, Path::to_owned)
}

/// Returns `TMPDIR` if it is set, else `/var/tmp` (on a disk, while `/tmp` is often in memory), else the directory that
/// [`std::env::temp_dir`] returns.
fn default_directory() -> PathBuf {
    let is_set = std::env::var_os("TMPDIR").is_some_and(|directory| !directory.is_empty());
    let on_disk = Path::new("/var/tmp");
    if cfg!(unix) && !is_set && on_disk.is_dir() {
        on_disk.to_owned()
    } else {
        std::env::temp_dir()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_file_is_unnamed_and_private_to_its_user() {
        let file = TemporaryFile::create(None).unwrap().file;
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 0));
        let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(!name.exists(), "{}", name.display());
    }
}
