//! Reloading: what a development server needs to notice a save, build the program, and show what went wrong.
//!
//! - [`Scope`] says which files belong to a project: its folders without what git and everybody else ignores, plus the
//!   files named besides.
//! - [`Watch`] waits until some of them change, by the system's events or by looking at them again and again.
//! - [`CargoProject`] knows the sources of a cargo project and builds it.
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
//! Unix only, as the server is.

mod cargo;
mod error_page;
mod scope;
mod watch;

pub use cargo::{Build, Built, CancelBuild, CargoError, CargoErrorKind, CargoProject, Executable, Outcome};
pub use error_page::{error_page, error_text};
pub use scope::{Scope, ScopeError, ScopeErrorKind, ScopeOptions, ALWAYS_IGNORED};
pub use watch::{Backend, Change, ChangeKind, Changes, Waker, Watch, WatchError, WatchErrorKind, WatchOptions};
