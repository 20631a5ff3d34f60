//! The flags of Python applications.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

use clap::Args;

use super::Told;

#[derive(Args, Debug)]
#[command(next_help_heading = "Python applications")]
pub(super) struct AppArgs {
    /// The interpreter for APP, or the folder of its virtual environment [default: that of VIRTUAL_ENV, else .venv or
    /// venv in the project, else python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Replace a worker in which a request runs longer than this [default: never]
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,

    /// Replace a worker after so many requests [default: never]
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests: Option<u64>,

    /// Up to so many more, at random, so that workers don't go at the same time [default: 0]
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long, value_name = "N", requires = "max_requests")]
    max_requests_jitter: Option<u32>,

    /// Import APP once, and fork the workers from there
    #[cfg(all(unix, feature = "reload"))]
    #[arg(long)]
    preload: bool,
}

/// So that a worker is not replaced for a hiccup, and a number is not taken for milliseconds.
#[cfg(all(unix, feature = "reload"))]
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 0.1 to 86400 (a day)".into()),
    }
}

impl AppArgs {
    /// The interpreter, if one was named.
    pub(super) fn python(&self) -> Option<&Path> {
        self.python.as_deref()
    }

    /// A flag that was given and means nothing to a server without an application in Python.
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

    /// Is anything asked for that only somebody beside the worker can do?
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn needs_supervisor(&self) -> bool {
        self.timeout.is_some() || self.max_requests.is_some() || self.preload
    }

    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn is_preloading(&self) -> bool {
        self.preload
    }

    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn tell(&self, told: &mut Told) {
        told.timeout = self.timeout.map(Duration::from_secs_f64);
        told.max_requests = self.max_requests;
        told.max_requests_jitter = self.max_requests_jitter.unwrap_or(0).into();
        told.preload = self.preload;
    }

    /// All of that needs a supervisor.
    #[cfg(not(all(unix, feature = "reload")))]
    pub(super) fn tell(&self, _: &mut Told) {}
}

/// The arguments for the interpreter that `--python` names. That no other argument can look like the flag is the
/// parser's doing: a value doesn't begin with a dash, and APP can't stand together with a PROGRAM and its arguments.
pub(super) fn without_python<'a>(arguments: impl IntoIterator<Item = &'a OsString>) -> Vec<OsString> {
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
