//! The errors of the contract: what an application returns, and what it receives from the server.

use std::{fmt, io};

use crate::http::{Error, ResponseError};

/// The error of an application. Any error and any string converts into it with `?` or `.into()`.
pub type AppError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a request body can't be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputError {
    kind: InputErrorKind,
}

/// The kinds of [`InputError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputErrorKind {
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
    /// The kind of the error.
    pub fn kind(&self) -> InputErrorKind {
        self.kind
    }

    /// The status code for the client.
    pub fn status(&self) -> u16 {
        match self.kind {
            InputErrorKind::Truncated => 400,
            InputErrorKind::Malformed(error) => error.status(),
            InputErrorKind::TooLarge(_) => 413,
            InputErrorKind::TooSlow => 408,
        }
    }
}

impl From<InputErrorKind> for InputError {
    fn from(kind: InputErrorKind) -> InputError {
        InputError { kind }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            InputErrorKind::Truncated => {
                f.write_str("the client closed the connection before the request body was complete")
            }
            InputErrorKind::Malformed(error) => write!(f, "the request body is malformed: {error}"),
            InputErrorKind::TooLarge(limit) => write!(f, "the request body is larger than {limit} bytes"),
            InputErrorKind::TooSlow => f.write_str("the client sends the request body too slowly"),
        }
    }
}

impl std::error::Error for InputError {}

impl From<InputError> for io::Error {
    fn from(error: InputError) -> io::Error {
        let kind = match error.kind {
            InputErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            InputErrorKind::TooSlow => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// The reason why `start_response` or `write` failed.
#[derive(Debug)]
pub struct StartError {
    kind: StartErrorKind,
}

/// The kinds of [`StartError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum StartErrorKind {
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

impl StartError {
    /// The kind of the error.
    pub fn kind(&self) -> &StartErrorKind {
        &self.kind
    }
}

impl From<StartErrorKind> for StartError {
    fn from(kind: StartErrorKind) -> StartError {
        StartError { kind }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StartErrorKind::Twice => f.write_str("start_response was called twice without an error"),
            StartErrorKind::HeadSent => f.write_str("the head has been sent already"),
            StartErrorKind::NotStarted => f.write_str("write was called before start_response"),
            StartErrorKind::Response(error) => error.fmt(f),
            StartErrorKind::Io(error) => write!(f, "the response can't be sent: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            StartErrorKind::Response(error) => Some(error),
            StartErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}
