//! The rules that decide which workers run, and when each of them gets which command. The rules use neither processes
//! nor a clock, so tests can go through every order of events: the time is passed in, and commands go to a
//! [`ProcessControl`].
//!
//! ```text
//!             start              ready              a newer worker is ready, or there is one too many
//! (missing) ────────▶ Starting ────────▶ Ready ──────────────────────────────────────────▶ Stopping ───▶ gone
//!     ▲                  │ exit, timeout   │ exit              asked first, then SIGTERM, then SIGKILL
//!     └──── back-off ◀───┴─────────────────┘
//! ```
//!
//! In a *rolling restart* all workers are replaced: one new worker after the other is started, and for each that
//! becomes ready an old one stops. If a new worker fails while an old one serves, the rolling restart is over.

mod commands;
mod interface;
mod machine;
mod reports;
mod scaling;
mod worker;

#[cfg(test)]
mod tests;

pub(super) use interface::{FailureReason, ProcessControl, StateEvent, WorkerCommand};
pub(super) use machine::SupervisorState;
