//! Supervisors with real workers, real sockets and real signals.
//!
//! - `replacement`: workers are replaced without a lost connection; broken and slow replacements do not stop the old
//!   ones.
//! - `restarts`: workers that die, ask for a restart, or exit.
//! - `successors`: workers that ask to be replaced.
//! - `spares`: workers that are started ahead of time.
//! - `signals`: the effect of each signal on a supervisor in a separate process.
//! - `plain_programs`: programs that do not use the control socket, systemd's variables, and the exec wrapper.
//! - `forked`: workers that are copies of the supervisor's process.
//! - `cleanup`: no orphan, no zombie, no leaked descriptor.
//!
//! `support` starts supervisors. `python_server` is a program that does not use the control socket. `fixtures` is what
//! this test binary does when it is started again: as a worker, as a supervisor, or as an exec wrapper.
#![cfg(unix)]

mod python_server;

mod support;

mod fixtures;

mod replacement;

mod restarts;

mod successors;

mod spares;

mod signals;

mod plain_programs;

mod forked;

mod cleanup;
