//! Why a body can't be stored.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a body can't be stored.
#[derive(Debug)]
pub(in crate::server) enum StoreError {
    /// All temporary files together would exceed this limit, in bytes.
    Full(u64),
    /// A temporary file in this directory can't be created or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(limit) => write!(
                f,
                "the temporary files of all request bodies would exceed {limit} bytes (limits.body_files sets the limit)"
            ),
            StoreError::Io(directory, error) => write!(
                f,
                "can't store a request body in a temporary file in {}: {error} (body_directory sets the directory)",
                directory.display()
            ),
        }
    }
}
