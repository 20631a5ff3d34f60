//! The open folder below which all paths are resolved, and the files in it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, ReadDir};

use super::error::FilesError;

/// How long the folder is used without a look at whether another one has taken its place. A look is a system call of
/// about a microsecond, so this costs a thousandth of one core at most; and a change is seen at once by people.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// The maximum number of components and links that are followed to resolve a path with links to absolute targets.
const MAX_STEPS: usize = 256;

/// A folder that is served, by its path. It is opened again when another folder has taken its place: build tools delete
/// and create their output, and deployments exchange a symbolic link.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    started: Instant,
    /// When the path was last looked at, in microseconds after `started`.
    checked: AtomicU64,
    /// `None` while there is no folder at the path.
    current: RwLock<Option<Arc<Opened>>>,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Opened {
    pub dir: Dir,
    path: PathBuf,
    identity: Identity,
}

/// What distinguishes a folder from another one at the same path. While the folder is open, its inode number is not
/// given to another one.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = Option<std::time::SystemTime>;

/// What there is at a path.
#[derive(Debug)]
pub(super) enum Lookup {
    File(File, Metadata),
    Folder,
    /// Nothing, or something that is not served: a link that leaves the folder, a pipe, a device.
    Missing,
    /// The server's user may not read it.
    Denied,
}

impl Root {
    pub fn open(path: &Path) -> Result<Root, FilesError> {
        let failed = |error| FilesError::from_io(path, error);
        // The program may change its folder later; links stay as they are, so that they can be exchanged.
        let absolute = std::path::absolute(path).map_err(failed)?;
        let opened = Opened::open(&absolute).map_err(failed)?;
        // On Unix, a folder can be opened that can't be searched.
        opened.dir.metadata(".").map_err(failed)?;
        let (started, checked) = (Instant::now(), AtomicU64::new(0));
        Ok(Root { path: absolute, started, checked, current: RwLock::new(Some(Arc::new(opened))) })
    }

    /// The folder that is now at the path.
    pub fn current(&self) -> Option<Arc<Opened>> {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let checked = self.checked.load(Ordering::Relaxed);
        if now.saturating_sub(checked) >= CHECK_INTERVAL.as_micros() as u64 {
            // One thread looks; the others use what is open.
            let mine = self.checked.compare_exchange(checked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if mine {
                self.check();
            }
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(&self) {
        let there = std::fs::metadata(&self.path).map(|metadata| metadata.is_dir().then(|| identity(&metadata)));
        let known = self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|open| open.identity);
        let replacement = match there {
            Ok(found) if found == known => return,
            Ok(Some(_)) => match Opened::open(&self.path) {
                Ok(opened) => Some(Arc::new(opened)),
                // Such as EMFILE: the next look tries again.
                Err(_) => return,
            },
            Ok(None) => None,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(_) => return,
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = replacement;
    }
}

impl Opened {
    fn open(path: &Path) -> io::Result<Opened> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let file = dir.into_std_file();
        let identity = identity(&file.metadata()?);
        Ok(Opened { dir: Dir::from_std_file(file), path: path.to_owned(), identity })
    }

    /// Opens what is at a path below the folder.
    ///
    /// # Errors
    /// Failures that say nothing about the path, such as EMFILE and EIO.
    pub fn look_up(&self, path: &[u8]) -> io::Result<Lookup> {
        let Some(path) = super::path::system_path(path) else { return Ok(Lookup::Missing) };
        if path.as_os_str().is_empty() {
            return Ok(Lookup::Folder);
        }
        match self.resolved(path, |path| self.dir.open_with(path, &options())) {
            Ok(file) => classify(file.into_std()),
            Err(error) => self.explain(path, error),
        }
    }

    /// Opens a folder below this one, for reading its entries.
    pub fn read_dir(&self, path: &Path) -> io::Result<ReadDir> {
        self.resolved(path, |path| self.dir.read_dir(path))
    }

    /// Describes what a path ends at after all links.
    pub fn metadata(&self, path: &Path) -> io::Result<cap_std::fs::Metadata> {
        self.resolved(path, |path| self.dir.metadata(path))
    }

    /// Calls `open` with a path, and if that leaves the folder, once more with the links on the way replaced: one with an
    /// absolute target may still lead to a place in the folder. What it leads to is opened like any other path, so nothing
    /// outside is reached if a link is changed meanwhile.
    fn resolved<R>(&self, path: &Path, open: impl Fn(&Path) -> io::Result<R>) -> io::Result<R> {
        match open(path) {
            Err(error) if is_escape(&error) => self.inside(path).map_or(Err(error), |path| open(&path)),
            result => result,
        }
    }

    /// The path with all links replaced by their targets. `None` if one of them leads out of the folder.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let root = self.path.canonicalize().ok()?;
        let mut done = PathBuf::new();
        let mut pending: VecDeque<_> = path.iter().map(OsStr::to_owned).collect();
        for _ in 0..MAX_STEPS {
            let Some(name) = pending.pop_front() else { return Some(done) };
            if name == ".." {
                if !done.pop() {
                    return None;
                }
                continue;
            }
            done.push(name);
            let Ok(target) = self.dir.read_link_contents(&done) else { continue };
            let target = if target.is_absolute() {
                done = PathBuf::new();
                target.canonicalize().ok()?.strip_prefix(&root).ok()?.to_owned()
            } else {
                done.pop();
                target
            };
            target.iter().rev().for_each(|name| pending.push_front(name.to_owned()));
        }
        None
    }

    fn explain(&self, path: &Path, error: io::Error) -> io::Result<Lookup> {
        match error.kind() {
            // On Windows, a folder can't be opened as a file.
            _ if cfg!(windows) && self.dir.metadata(path).is_ok_and(|metadata| metadata.is_dir()) => Ok(Lookup::Folder),
            io::ErrorKind::PermissionDenied if !is_escape(&error) => Ok(Lookup::Denied),
            _ => missing_unless_unrelated(error),
        }
    }
}

/// Whether cap-std has refused a path that leaves the folder: its error has no code of the system.
fn is_escape(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// Opens a file outside of any folder, which the operator has named.
pub(super) fn open_named_file(path: &Path) -> io::Result<Lookup> {
    match cap_std::fs::File::open_ambient_with(path, &options(), ambient_authority()) {
        Ok(file) => classify(file.into_std()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Lookup::Denied),
        Err(error) => missing_unless_unrelated(error),
    }
}

/// Opening does not wait: a pipe without a writer would block the thread until there is one (fifo(7)). A terminal does not
/// become the controlling terminal of the server.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        use rustix::fs::OFlags;
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    }
    options
}

fn classify(file: File) -> io::Result<Lookup> {
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() {
        Lookup::File(file, metadata)
    } else if metadata.is_dir() {
        Lookup::Folder
    } else {
        Lookup::Missing
    })
}

/// Most failures say that there is no such file: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EILSEQ, ENXIO for a socket. Those
/// that say nothing about the path are for the log.
fn missing_unless_unrelated(error: io::Error) -> io::Result<Lookup> {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let unrelated = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO].map(Errno::raw_os_error);
        if error.raw_os_error().is_some_and(|code| unrelated.contains(&code)) {
            return Err(error);
        }
    }
    let _ = error;
    Ok(Lookup::Missing)
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(metadata: &Metadata) -> Identity {
    metadata.created().ok()
}
