//! Serving under a supervisor: the parent holds the sockets and watches, the child serves.
//!
//! `run_host` is called in both. In the parent it binds, starts the same command line again and stays to watch; in the
//! child ([`is_running_from_reloader`]) it serves on what it inherited and does what the parent says.

mod accepting;
mod bytecode;
mod child;
mod options;
mod page;
mod parent;
mod project;
mod rebuild;
mod stage;
mod traceback;
mod worker;

/// Forks, see [`RunOptions::fork`](crate::RunOptions::fork).
pub type ForkWith = dyn Fn(Forked) -> std::io::Result<u32> + Send + Sync;

pub(crate) use child::Child;
pub use options::{BrokenSave, ReloaderType};
#[cfg(feature = "cli")]
pub(crate) use page::ErrorPage;
pub(crate) use parent::supervise;
pub(crate) use worker::ToSupervisor;

/// What a forked child serves on, for [`run_forked`](crate::run_forked).
pub use amboss_reload::{exec_as_child, is_running_from_reloader, Forked};
