//! Supervisors with real children, real sockets and real signals.
//!
//! - `replacing`: children are swapped without a lost connection; broken and slow replacements leave the old alone.
//! - `staying`: children that die, ask for a restart, or end themselves.
//! - `successors`: children that ask to be replaced.
//! - `signals`: what each signal does to a supervisor in a process of its own.
//! - `foreign`: programs that know nothing of the control socket; systemd's variables; captured output.
//! - `forked`: children that are copies of the supervisor's process.
//! - `tidy`: no orphan, no zombie, no leaked descriptor.
//!
//! `support` starts supervisors and talks HTTP to their children; `roles` is what this binary does when it is started
//! again: as a child, as a supervisor, as a shim.
#![cfg(unix)]

mod support;

mod roles;

mod replacing;

mod staying;

mod successors;

mod signals;

mod foreign;

mod forked;

mod tidy;
