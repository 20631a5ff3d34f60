//! The result type of this program.

/// A result whose error is a message for people.
pub type Result<T> = std::result::Result<T, String>;
