//! [`ClientError`].

use std::fmt;

use amboss_core::{EnvironError, RunAppError};

/// The reason why a [`Client`](super::Client) has no response.
#[derive(Debug)]
pub struct ClientError {
    kind: ClientErrorKind,
}

/// The kinds of [`ClientError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// The request can't be sent.
    Request(EnvironError),
    /// The application failed or broke the contract.
    App(RunAppError),
    /// A response redirects to another host, or without a Location, or there were too many redirects; the text says
    /// which.
    Redirect(String),
    /// The server can't be reached, or what it sends is not HTTP; the text says why.
    Connection(String),
}

impl ClientError {
    /// The kind of the error.
    pub fn kind(&self) -> &ClientErrorKind {
        &self.kind
    }
}

impl From<ClientErrorKind> for ClientError {
    fn from(kind: ClientErrorKind) -> ClientError {
        ClientError { kind }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ClientErrorKind::Request(error) => error.fmt(f),
            ClientErrorKind::App(error) => error.fmt(f),
            ClientErrorKind::Redirect(why) | ClientErrorKind::Connection(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ClientErrorKind::Request(error) => Some(error),
            ClientErrorKind::App(error) => Some(error),
            _ => None,
        }
    }
}
