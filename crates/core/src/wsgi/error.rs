//! The errors of the contract: what an application returns, and what it receives from the server.

use std::{fmt, io};

use crate::http::{Error, ResponseError};

/// The error of an application. Any error and any string converts into it with `?` or `.into()`.
pub type AppError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a request body can't be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// The client closed the connection before the end.
    Truncated,
    /// The chunked coding is malformed.
    Malformed(Error),
    /// The body is larger than the server's limit, given in bytes.
    TooLarge(u64),
    /// The client sends the body too slowly.
    TooSlow,
}

impl InputError {
    /// The status code for the client.
    pub fn status(&self) -> u16 {
        match self {
            InputError::Truncated => 400,
            InputError::Malformed(error) => error.status(),
            InputError::TooLarge(_) => 413,
            InputError::TooSlow => 408,
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Truncated => {
                f.write_str("the client closed the connection before the request body was complete")
            }
            InputError::Malformed(error) => write!(f, "the request body is malformed: {error}"),
            InputError::TooLarge(limit) => write!(f, "the request body is larger than {limit} bytes"),
            InputError::TooSlow => f.write_str("the client sends the request body too slowly"),
        }
    }
}

impl std::error::Error for InputError {}

impl From<InputError> for io::Error {
    fn from(error: InputError) -> io::Error {
        let kind = match error {
            InputError::Truncated => io::ErrorKind::UnexpectedEof,
            InputError::TooSlow => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// The reason why `start_response` or `write` failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// `start_response` was called before, and no error was given.
    Twice,
    /// The head has been sent and can't be replaced.
    HeadSent,
    /// `write` was called before `begin`.
    NotStarted,
    /// The status or a field can't be sent.
    Response(ResponseError),
    /// The client has closed the connection, or does not read.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Twice => f.write_str("start_response was called twice without an error"),
            StartError::HeadSent => f.write_str("the head has been sent already"),
            StartError::NotStarted => f.write_str("write was called before start_response"),
            StartError::Response(error) => error.fmt(f),
            StartError::Io(error) => write!(f, "the response can't be sent: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Response(error) => Some(error),
            StartError::Io(error) => Some(error),
            _ => None,
        }
    }
}
