//! Why a server can't run, or has ended.

use std::borrow::Cow;
use std::fmt;
use std::io;

use amboss_core::{Address, ServeError, ServeErrorKind};

/// Why a server can't run, or has ended.
#[derive(Debug)]
pub struct RunError {
    kind: RunErrorKind,
}

/// The kinds of [`RunError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum RunErrorKind {
    /// Options that contradict each other. The text says what to change.
    Options(Cow<'static, str>),
    /// An address is in use.
    AddressInUse {
        /// The address.
        address: Address,
        /// The system's error.
        error: io::Error,
    },
    /// Any other error of a server.
    Serve(ServeError),
    /// A file can't be watched, or a program can't be started. The text says what to change.
    Reload(String),
    /// The supervisor has ended with this exit code.
    Exit(i32),
}

impl RunError {
    /// The kind of the error.
    pub fn kind(&self) -> &RunErrorKind {
        &self.kind
    }

    /// Returns the kind with its values.
    pub fn into_kind(self) -> RunErrorKind {
        self.kind
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RunErrorKind::Options(message) => f.write_str(message),
            RunErrorKind::AddressInUse { address, error } => {
                write!(f, "can't listen on {address}: {error}")?;
                let Address::Tcp { port, .. } = address else { return Ok(()) };
                write!(
                    f,
                    "\nPort {port} is in use by another program. Either identify and stop that program, or start the \
                     server with a different port."
                )?;
                if cfg!(target_os = "macos") && *port == 5000 {
                    write!(f, "\nOn macOS, try searching for and disabling 'AirPlay Receiver' in System Settings.")?;
                }
                Ok(())
            }
            RunErrorKind::Serve(error) => error.fmt(f),
            RunErrorKind::Reload(message) => f.write_str(message),
            RunErrorKind::Exit(code) => write!(f, "stopped with exit code {code}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RunErrorKind::Serve(error) => Some(error),
            RunErrorKind::AddressInUse { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<RunErrorKind> for RunError {
    fn from(kind: RunErrorKind) -> RunError {
        RunError { kind }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> RunError {
        ServeError::from(error).into()
    }
}

impl From<ServeError> for RunError {
    fn from(error: ServeError) -> RunError {
        match error.into_kind() {
            ServeErrorKind::Bind { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                RunErrorKind::AddressInUse { address, error }.into()
            }
            kind => RunErrorKind::Serve(kind.into()).into(),
        }
    }
}
