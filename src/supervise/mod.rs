//! Serving under a supervisor: the only module that runs `amboss-reload` with this crate's options.
//!
//! [`ServerBuilder::run`](crate::ServerBuilder::run) is called in the supervisor and in each worker. In the supervisor
//! it binds the sockets, starts the same command line again as a worker, and watches files ([`run`]). In a worker
//! ([`is_running_from_reloader`]) it serves on the inherited sockets and follows the supervisor's orders
//! ([`worker_process`]).
//!
//! | file | what it does |
//! |---|---|
//! | `run` | runs the supervisor: sockets, workers, file watch |
//! | `rebuild` | reacts to file changes: builds the program and replaces the workers |
//! | `events` | handles the supervisor's events about its workers |
//! | `fallback` | decides whether the program or the error page serves |
//! | `watched_files` | selects the files to watch |
//! | `program` | composes the command lines of workers and of the error page |
//! | `cargo_program` | finds the cargo project of a program, and builds it |
//! | `worker_process` | runs a worker: takes over the sockets, serves, and reports to the supervisor |
//! | `orders` | follows the supervisor's orders in a worker |
//! | `spare` | waits in a worker that was started ahead of time |
//! | `shared_sockets` | accepts on sockets that are shared with another program |
//! | `error_page` | is the application that shows why the newest code can't be loaded |
//! | `variables` | defines the environment variables of workers |

mod cargo_program;
mod error_page;
mod events;
mod fallback;
mod orders;
mod program;
mod rebuild;
mod run;
mod shared_sockets;
mod spare;
mod variables;
mod watched_files;
mod worker_process;

#[cfg(feature = "cli")]
pub(crate) use error_page::ErrorPage;
#[cfg(feature = "cli")]
pub(crate) use program::check_runnable;
pub(crate) use run::supervise;
pub use worker_process::report_files_before_exit;
pub(crate) use worker_process::WorkerProcess;

/// The sockets and the control connection of a forked worker, for
/// [`ServerBuilder::run_forked`](crate::ServerBuilder::run_forked).
pub use amboss_reload::Forked;
pub use amboss_reload::{exec_as_child, is_running_from_reloader};
