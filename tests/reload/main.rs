//! Reloading, end to end: a program that serves under a supervisor, and clients that must not notice.
//!
//! | module | holds |
//! |---|---|
//! | `restarts` | broken code, processes that die, stopping |
//! | `zero_downtime` | replacing processes without failing a request |
//! | `app_loader` | applications that are made only in the processes that serve |
//! | `live` | the script that reloads open pages |
//!
//! The program is this test binary, started again: `supervisor_process` starts it, `fixtures` is what it runs.
#![cfg(all(unix, feature = "reload"))]

mod fixtures;

mod supervisor_process;

mod restarts;

mod zero_downtime;

mod app_loader;

mod live;
