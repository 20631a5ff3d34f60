//! The error of a request that can't be made.

use std::fmt;

use crate::http::Error;

/// The reason why an [`EnvironBuilder`](crate::EnvironBuilder) can't make a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironError {
    kind: EnvironErrorKind,
}

/// The kinds of [`EnvironError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvironErrorKind {
    /// The base URL is not `http://host`, `https://host:port` or the same with a path.
    BaseUrl(String),
    /// The path does not begin with `/`.
    Path(String),
    /// The method is not a token.
    Method(String),
    /// A field has no name, or contains a line end.
    Field(String),
    /// The server would refuse the head.
    Head(Error),
}

impl EnvironError {
    /// The kind of the error.
    pub fn kind(&self) -> &EnvironErrorKind {
        &self.kind
    }
}

impl From<EnvironErrorKind> for EnvironError {
    fn from(kind: EnvironErrorKind) -> EnvironError {
        EnvironError { kind }
    }
}

impl fmt::Display for EnvironError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            EnvironErrorKind::BaseUrl(url) => {
                write!(f, "{url:?} is not the URL of an application: write it as http://localhost:8080")
            }
            EnvironErrorKind::Path(path) => write!(f, "the path {path:?} does not begin with a slash"),
            EnvironErrorKind::Method(method) => write!(f, "{method:?} is not a method"),
            EnvironErrorKind::Field(name) => write!(f, "the field {name:?} has no name, or contains a line end"),
            EnvironErrorKind::Head(error) => write!(f, "a server would refuse this request: {error}"),
        }
    }
}

impl std::error::Error for EnvironError {}
