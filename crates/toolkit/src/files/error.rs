//! [`FilesError`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The reason why a folder or a file can't be served.
#[derive(Debug)]
pub struct FilesError {
    kind: FilesErrorKind,
}

/// The kinds of [`FilesError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FilesErrorKind {
    /// There is no file or folder at this path.
    Missing(PathBuf),
    /// This path is not a folder.
    NotAFolder(PathBuf),
    /// This path is not a regular file.
    NotAFile(PathBuf),
    /// The file or folder can't be opened.
    Unreadable(PathBuf, io::Error),
    /// This prefix does not begin with a slash, or has a part that no path has.
    InvalidPrefix(String),
    /// This prefix was given twice.
    DuplicatePrefix(String),
}

impl FilesError {
    /// The kind of the error.
    pub fn kind(&self) -> &FilesErrorKind {
        &self.kind
    }

    pub(super) fn from_io(path: &Path, error: io::Error) -> FilesError {
        match error.kind() {
            io::ErrorKind::NotFound => FilesErrorKind::Missing(path.to_owned()).into(),
            io::ErrorKind::NotADirectory => FilesErrorKind::NotAFolder(path.to_owned()).into(),
            _ => FilesErrorKind::Unreadable(path.to_owned(), error).into(),
        }
    }
}

impl From<FilesErrorKind> for FilesError {
    fn from(kind: FilesErrorKind) -> FilesError {
        FilesError { kind }
    }
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FilesErrorKind::Missing(path) => {
                write!(f, "{} does not exist: create it, or correct the path", path.display())
            }
            FilesErrorKind::NotAFolder(path) => {
                write!(f, "{} is not a folder: name the folder that contains the files", path.display())
            }
            FilesErrorKind::NotAFile(path) => {
                write!(f, "{} is not a regular file: name a file, or serve it as a folder", path.display())
            }
            FilesErrorKind::Unreadable(path, error) => {
                write!(f, "{} can't be opened ({error}): allow the server's user to read it", path.display())
            }
            FilesErrorKind::InvalidPrefix(prefix) => write!(
                f,
                "the prefix {prefix:?} is not a path: write one that begins with a slash, such as \"/static\", with one \
                 slash between names, and without \"..\", \"?\" and \"#\""
            ),
            FilesErrorKind::DuplicatePrefix(prefix) => {
                write!(f, "the prefix {prefix:?} is given twice: remove one, or choose another prefix for it")
            }
        }
    }
}

impl std::error::Error for FilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            FilesErrorKind::Unreadable(_, error) => Some(error),
            _ => None,
        }
    }
}
