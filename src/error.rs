//! Why a server can't run, or has ended.

use std::fmt;
use std::io;

use amboss_core::{Address, ServeError};

/// Why a server can't run, or has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Options that contradict each other.
    Options(&'static str),
    /// An address is in use.
    AddressInUse {
        /// The address.
        address: Address,
        /// The system's message.
        error: String,
    },
    /// Any other error of a server.
    Serve(ServeError),
    /// A file can't be watched, or a program can't be started.
    Reload(String),
    /// The supervisor ended with this exit code.
    Exit(i32),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Options(message) => f.write_str(message),
            RunError::AddressInUse { address: Address::Tcp { port, .. }, error } => {
                writeln!(f, "{error}")?;
                write!(
                    f,
                    "Port {port} is in use by another program. Either identify and stop that program, or start the \
                     server with a different port."
                )?;
                if cfg!(target_os = "macos") && *port == 5000 {
                    write!(f, "\nOn macOS, try searching for and disabling 'AirPlay Receiver' in System Settings.")?;
                }
                Ok(())
            }
            RunError::AddressInUse { error, .. } => f.write_str(error),
            RunError::Serve(error) => error.fmt(f),
            RunError::Reload(message) => f.write_str(message),
            RunError::Exit(code) => write!(f, "stopped with exit code {code}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Serve(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> RunError {
        RunError::Serve(error.into())
    }
}

impl From<ServeError> for RunError {
    fn from(error: ServeError) -> RunError {
        RunError::Serve(error)
    }
}
