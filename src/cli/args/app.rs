//! The flags of Python applications.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

use clap::Args;

#[cfg(all(unix, feature = "reload"))]
use super::seconds;
use crate::cli::runner::AppConfig;

/// The flags of Python applications.
#[derive(Args, Debug)]
#[command(next_help_heading = "Python applications")]
pub(in crate::cli) struct AppArgs {
    /// Python interpreter for APP, or the directory of its virtual environment [default: that of VIRTUAL_ENV, else .venv
    /// or venv in the project, else python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Replace a worker in which a request runs longer than this [default: never]
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long, value_name = "SECONDS", value_parser = seconds::timeout)]
    timeout: Option<Duration>,

    /// Replace a worker after this number of requests [default: never]
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests: Option<u64>,

    /// Add a random number up to N to --max-requests, so that workers are not all replaced at the same time [default: 0]
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long, value_name = "N", requires = "max_requests")]
    max_requests_jitter: Option<u32>,

    /// Import APP once, and fork the workers from that process
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long)]
    preload: bool,
}

impl AppArgs {
    /// Returns the interpreter, if one was named.
    pub(in crate::cli) fn python(&self) -> Option<&Path> {
        self.python.as_deref()
    }

    /// Returns a flag that was given; each of them needs a Python application.
    pub(super) fn given(&self) -> Option<&'static str> {
        let python = (self.python.is_some(), "--python");
        #[cfg(all(unix, feature = "reload"))]
        let flags = [
            python,
            (self.timeout.is_some(), "--timeout"),
            (self.max_requests.is_some(), "--max-requests"),
            (self.preload, "--preload"),
        ];
        #[cfg(not(all(unix, feature = "reload")))]
        let flags = [python];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// Whether a flag was given that only a supervisor can follow.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn needs_supervisor(&self) -> bool {
        self.timeout.is_some() || self.max_requests.is_some() || self.preload
    }

    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn is_preloading(&self) -> bool {
        self.preload
    }

    /// Copies the flags that concern supervision into the settings of the application.
    #[cfg(all(unix, feature = "reload"))]
    pub(in crate::cli) fn apply(&self, config: &mut AppConfig) {
        config.timeout = self.timeout;
        config.max_requests = self.max_requests;
        config.max_requests_jitter = self.max_requests_jitter.unwrap_or(0).into();
        config.preload = self.preload;
    }

    /// Does nothing: all of these flags need a supervisor.
    #[cfg(not(all(unix, feature = "reload")))]
    pub(in crate::cli) fn apply(&self, _: &mut AppConfig) {}
}

/// Returns the arguments without `--python`, for the interpreter that it names. No other argument can look like this
/// flag: a value can't begin with a dash, and APP excludes a PROGRAM with arguments of its own.
pub(in crate::cli) fn without_python<'a>(arguments: impl IntoIterator<Item = &'a OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == OsStr::new("--python") {
            arguments.next();
        } else if !argument.as_encoded_bytes().starts_with(b"--python=") {
            kept.push(argument.clone());
        }
    }
    kept
}
