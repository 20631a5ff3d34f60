//! The error of building a router and of building a URL.

use std::fmt;

/// The reason why a router or a URL can't be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    kind: RouteErrorKind,
    message: String,
}

/// The kinds of [`RouteError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteErrorKind {
    /// A rule can't be read.
    MalformedRule,
    /// A rule names a converter that does not exist, or gives it an option that it does not have.
    UnknownConverter,
    /// Two arguments of a rule have the same name.
    DuplicateArgument,
    /// An earlier rule takes every request of this rule, or the same method on the same paths.
    DuplicateRule,
    /// Two rules have the same name, or a rule has two names.
    DuplicateName,
    /// A name can't be used, or there is no rule that it could belong to.
    MalformedName,
    /// A method can't be used.
    MalformedMethod,
    /// A host can't be read.
    MalformedHost,
    /// Two applications have the same host.
    DuplicateHost,
    /// No rule has this name.
    UnknownName,
    /// A value for an argument of the rule is missing.
    MissingValue,
    /// A value is not one that the rule matches.
    InvalidValue,
}

impl RouteError {
    pub(super) fn new(kind: RouteErrorKind, message: impl Into<String>) -> RouteError {
        RouteError { kind, message: message.into() }
    }

    /// The kind of the error.
    pub fn kind(&self) -> RouteErrorKind {
        self.kind
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RouteError {}
