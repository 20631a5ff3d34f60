//! Reloading: noticing a save, building the program, swapping a server's processes without losing a request, and showing
//! what went wrong.
//!
//! - [`Scope`] says which files belong to a project: its folders without what git and everybody else ignores, plus the
//!   files named besides.
//! - [`Watch`] waits until some of them change, by the system's events or by looking at them again and again.
//! - [`CargoProject`] knows the sources of a cargo project and builds it.
//! - [`Supervisor`](supervisor::Supervisor) holds the listening sockets and runs the server as its child, or several: any
//!   program that takes its sockets from its parent. What the two say to each other is in [`control`], what a child
//!   finds in its environment in [`inherited`].
//! - [`error_page`] shows a compiler's output in the browser.
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
//! Unix only: elsewhere sockets can't be passed on like this.
#![cfg(unix)]

mod backoff;
mod cargo;
pub mod child;
pub mod control;
mod error_page;
pub mod inherited;
mod scope;
mod sigchld;
pub mod supervisor;
mod watch;

pub use cargo::{Build, Built, CancelBuild, CargoError, CargoErrorKind, CargoProject, Executable, Outcome};
pub use error_page::{error_page, error_text};
pub use scope::{Scope, ScopeError, ScopeErrorKind, ScopeOptions, ALWAYS_IGNORED};
pub use watch::{Backend, Change, ChangeKind, Changes, Waker, Watch, WatchError, WatchErrorKind, WatchOptions};
