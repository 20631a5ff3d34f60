//! Reloading for servers: watching a project's files, building it, and replacing the server's processes without losing
//! a request.
//!
//! The modules, each of which uses only those before it:
//!
//! - `watch`: a [`Scope`] decides which files belong to a project, and a [`Watch`] waits until some of them change.
//! - `process`: a [`Program`] is started as a child with listening sockets, which it takes over as [`Inherited`], and
//!   with a [`ControlSocket`].
//! - `build`: a [`CargoProject`] lists the sources of a cargo project and builds it.
//! - `supervisor`: a [`Supervisor`] holds the listening sockets and runs a program as its workers.
//!
//! ```no_run
//! use amboss_reload::{Scope, ScopeOptions, Watch, WatchOptions};
//!
//! let mut options = ScopeOptions::default();
//! options.roots.push("src".into());
//! options.extra_files.push("config/*.toml".into());
//! let mut watch = Watch::start(Scope::new(options)?, WatchOptions::default())?;
//! println!(" * Restarting with {}", watch.backend());
//! while let Some(changes) = watch.next(None) {
//!     println!(" * Detected change in '{}', reloading", changes.first().path.display());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate is for Unix only: on other systems, sockets cannot be passed to a child process in this way.
#![cfg(unix)]

mod build;
mod process;
mod supervisor;
mod sync;
mod watch;

pub use build::{Build, BuildOutcome, CancelBuild, CargoError, CargoErrorKind, CargoProject, Executable};
pub use process::{
    exec_as_child, ignore_interrupts, is_running_from_reloader, set_blocking, ControlMessage, ControlSender,
    ControlSocket, Forked, ForkedChild, Inherited, Program, RequestBody,
};
pub use supervisor::{
    EventHandler, Protocol, Supervisor, SupervisorHandle, SupervisorOptions, WorkerDeath, WorkerFailure,
};
pub use watch::{
    Backend, Change, ChangeKind, Changes, Scope, ScopeError, ScopeErrorKind, ScopeOptions, Waker, Watch, WatchError,
    WatchOptions,
};
