//! Reloading, end to end: a program that calls `run_simple`, its supervisor, and clients that must not notice.
//!
//! The program is this test binary, started again to play it; what it is told stands in `Program`.
#![cfg(all(unix, feature = "reload"))]

mod program;

mod host;

mod zero_downtime;

mod live;

mod restarts;
