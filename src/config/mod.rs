//! Configuration of the command. One table of settings (`table`) is the source of flags, environment variables, files,
//! help, the manual, completions and the reference.
//!
//! ```text
//!   flags ─────────────────┐
//!   environment ───────────┼──► layers: Resolved ──► options: RunOptions
//!   amboss.toml (file) ────┘    scope, conflicts
//! ```
//!
//! A value is text until it is stored in [`Config`](values::Config) by its setting, so that each source has the same
//! rules and the same messages.

mod conflicts;
pub(crate) mod environment;
mod file;
pub(crate) mod layers;
pub(crate) mod log_file;
mod nearest;
pub(crate) mod options;
mod parsers;
mod scope;
pub(crate) mod setting;
pub(crate) mod show;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod values;

use std::path::Path;

pub(crate) use conflicts::with_greenlets;
use layers::{Given, Resolved};

/// The flag with which only the command line counts.
pub(crate) const NO_CONFIG: &str = "no-config";

/// Resolves the configuration of this process from the command line, and, unless `isolated`, from its environment and a
/// file: the one that `named` is, or one of the current directory.
///
/// # Errors
/// Messages: what can't be used, and what to do.
pub(crate) fn resolve(flags: Vec<Given>, named: Option<&Path>, isolated: bool) -> Result<Resolved, Vec<String>> {
    let mut layers = vec![flags];
    if !isolated {
        let environment = environment::read(std::env::vars_os());
        let file = file::read(named);
        match (environment, file) {
            (Ok(environment), Ok(file)) => {
                layers.extend(environment);
                layers.push(file);
            }
            (environment, file) => {
                return Err([environment.err(), file.err()].into_iter().flatten().flatten().collect());
            }
        }
    }
    let resolved = Resolved::new(layers)?;
    match conflicts::find(&resolved) {
        Some(message) => Err(vec![message]),
        None => Ok(resolved),
    }
}
