//! The user's own folders, and files that nobody else may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where things are kept that can be made again; `None` when nobody says where the user lives.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    folder("XDG_CACHE_HOME", ".cache", "Library/Caches")
}

/// Where things are kept that can't.
pub(crate) fn data_folder() -> Option<PathBuf> {
    folder("XDG_DATA_HOME", ".local/share", "Library/Application Support")
}

fn folder(variable: &str, below_home: &str, on_macos: &str) -> Option<PathBuf> {
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

/// Makes a folder that only this user can look into, with what is above it.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Replaces a file at once and as a whole: whoever reads it sees the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8], private: bool) -> io::Result<()> {
    with_temporary(path, content, private, |temporary| fs::rename(temporary, path))
}

/// Makes a file as a whole, or leaves the one that is there: false.
pub(crate) fn make_once(path: &Path, content: &[u8], private: bool) -> io::Result<bool> {
    with_temporary(path, content, private, |temporary| match fs::hard_link(temporary, path) {
        Ok(()) => fs::remove_file(temporary).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(temporary).map(|()| false),
        // Some file systems have no links.
        Err(_) if path.exists() => fs::remove_file(temporary).map(|()| false),
        Err(_) => fs::rename(temporary, path).map(|()| true),
    })
}

/// Writes a file under a name of its own beside `path`, and hands it to `place`; nothing is left behind on failure.
fn with_temporary<R>(
    path: &Path,
    content: &[u8],
    private: bool,
    place: impl FnOnce(&Path) -> io::Result<R>,
) -> io::Result<R> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}-{}.new", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    // Left over from a process of the same number that was killed.
    let _ = fs::remove_file(&temporary);
    let result =
        create(&temporary, private).and_then(|mut file| file.write_all(content)).and_then(|()| place(&temporary));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn create(path: &Path, private: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    let _ = private;
    options.open(path)
}

/// Is this user the only one who can read it? On Windows, where files take their folder's permissions, the user's own
/// folders see to that.
pub(crate) fn is_private(path: &Path) -> bool {
    #[cfg(unix)]
    return fs::metadata(path).is_ok_and(|file| std::os::unix::fs::MetadataExt::mode(&file) & 0o077 == 0);
    #[cfg(not(unix))]
    path.exists()
}
