//! Serving under a supervisor. This is the only room that knows both this crate's options and `amboss-reload`.
//!
//! [`ServerBuilder::run`](crate::ServerBuilder::run) is called in two processes. In the first one it binds the sockets,
//! starts the same command line again, and stays to watch ([`run`]). In the child ([`is_running_from_reloader`]) it serves
//! on the sockets that it has inherited, and follows the supervisor's orders ([`worker_process`]).
//!
//! | file | what it holds |
//! |---|---|
//! | `run` | the supervisor: sockets, workers, watch |
//! | `rebuild` | from a change of a file to new workers |
//! | `events` | what the supervisor hears of its workers |
//! | `fallback` | which program serves: the real one, or the error page in its place |
//! | `watched_files` | which files are watched |
//! | `program` | the command lines of workers and of the error page |
//! | `cargo_program` | the cargo project that builds a program |
//! | `worker_process` | the worker's side: inherited sockets, ready, drained |
//! | `orders` | the supervisor's orders, as the worker follows them |
//! | `shared_sockets` | accepting on sockets that another program shares |
//! | `error_page` | the application that shows why the code does not run |
//! | `plan`, `options`, `variables` | how workers are started; what users choose; the environment between the two sides |

mod cargo_program;
mod error_page;
mod events;
mod fallback;
mod options;
mod orders;
mod plan;
mod program;
mod rebuild;
mod run;
mod shared_sockets;
mod variables;
mod watched_files;
mod worker_process;

#[cfg(feature = "cli")]
pub(crate) use error_page::ErrorPage;
pub use options::{OnLoadFailure, ReloaderType};
pub use plan::{ForkWith, LaunchPlan, SourceKnowledge};
pub(crate) use run::supervise;
pub use worker_process::report_files_before_exit;
pub(crate) use worker_process::WorkerProcess;

/// What a forked worker serves on, for [`ServerBuilder::run_forked`](crate::ServerBuilder::run_forked).
pub use amboss_reload::Forked;
pub use amboss_reload::{exec_as_child, is_running_from_reloader};
