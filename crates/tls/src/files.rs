//! The user's cache and data folders, and files that other users cannot read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The folder for files that can be created again. `None` when the user has no home directory.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches")
}

/// The folder for files that cannot be created again. `None` when the user has no home directory.
pub(crate) fn data_folder() -> Option<PathBuf> {
    user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support")
}

/// Finds one of the user's folders. etcetera would do it differently in ways that matter here: it puts data, and with
/// it the private key of the local authority, into the roaming profile on Windows, which is copied to other machines;
/// it ignores the XDG variables on macOS; and without `HOME` it asks the user database, so that a service that has no
/// home directory on purpose would write into one.
fn user_folder(variable: &str, below_home: &str, on_macos: &str) -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        given("LOCALAPPDATA")?
    } else if cfg!(target_os = "macos") {
        given(variable).or_else(|| Some(given("HOME")?.join(on_macos)))?
    } else {
        given(variable).or_else(|| Some(given("HOME")?.join(below_home)))?
    };
    Some(base.join("amboss"))
}

/// Creates a folder that only this user can access, and its parents.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Replaces a file atomically: readers see either the old content or the new one.
pub(crate) fn replace(path: &Path, content: &[u8], private: bool) -> io::Result<()> {
    write_temporary(path, content, private)?.persist(path)?;
    Ok(())
}

/// Creates a file atomically. Returns false, and leaves the file alone, if it exists already.
pub(crate) fn create_once(path: &Path, content: &[u8], private: bool) -> io::Result<bool> {
    match write_temporary(path, content, private)?.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(_) if path.exists() => Ok(false),
        // Some file systems support neither hard links nor a rename that never replaces.
        Err(refused) => Ok(refused.file.persist(path).map(|_| true)?),
    }
}

/// Writes a temporary file next to `path`, which is removed unless it is persisted.
fn write_temporary(path: &Path, content: &[u8], private: bool) -> io::Result<NamedTempFile<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    let _ = private;
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().make_in(folder, |temporary| options.open(temporary))?;
    file.write_all(content)?;
    Ok(file)
}

/// Whether only this user can read the file. On Windows, files inherit the permissions of their folder, and the user's
/// own folders are private, so that every file that exists counts as private.
pub(crate) fn is_private(path: &Path) -> bool {
    #[cfg(unix)]
    return fs::metadata(path).is_ok_and(|file| std::os::unix::fs::MetadataExt::mode(&file) & 0o077 == 0);
    #[cfg(not(unix))]
    path.exists()
}
