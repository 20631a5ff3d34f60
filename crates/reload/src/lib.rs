//! Keeps a server running while its code changes: a supervisor that swaps processes without losing a request.
//!
//! The [`Supervisor`](supervisor::Supervisor) holds the listening sockets and runs the server as its child, or several:
//! any program that takes its sockets from its parent. What the two say to each other is in [`control`], what a child
//! finds in its environment in [`inherited`].
//!
//! Supervising is for Unix systems; elsewhere those modules are absent.

#[cfg(unix)]
mod backoff;

#[cfg(unix)]
pub mod child;

#[cfg(unix)]
pub mod control;

#[cfg(unix)]
pub mod inherited;

#[cfg(unix)]
pub mod supervisor;
