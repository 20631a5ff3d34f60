//! The flags of Python applications.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

use clap::{Args, ValueEnum};

#[cfg(all(unix, feature = "reload"))]
use super::seconds;
use crate::cli::runner::{AppConfig, WorkerClass};

/// The flags of Python applications.
#[derive(Args, Debug)]
#[command(next_help_heading = "Python applications")]
pub(in crate::cli) struct AppArgs {
    /// Python interpreter for APP, or the directory of its virtual environment [default: that of VIRTUAL_ENV, else .venv
    /// or venv in the project, else python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// How requests run in a worker: in threads, or in greenlets of gevent or eventlet, which replace Python's blocking
    /// functions before APP is imported [default: threads, or the greenlets of the library that APP uses so]
    #[arg(short = 'k', long, value_enum, value_name = "CLASS")]
    worker_class: Option<WorkerClassArg>,

    /// Maximum number of requests that run at once in greenlets [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    worker_connections: Option<u32>,

    /// Replace a worker in which a request runs longer than this, or whose greenlets have not been switched for so long
    /// [default: never]
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
        let class = (self.worker_class.is_some(), "--worker-class");
        let connections = (self.worker_connections.is_some(), "--worker-connections");
        #[cfg(all(unix, feature = "reload"))]
        let flags = [
            python,
            class,
            connections,
            (self.timeout.is_some(), "--timeout"),
            (self.max_requests.is_some(), "--max-requests"),
            (self.preload, "--preload"),
        ];
        #[cfg(not(all(unix, feature = "reload")))]
        let flags = [python, class, connections];
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

    /// Copies the flags into the settings of the application.
    #[cfg(all(unix, feature = "reload"))]
    pub(in crate::cli) fn apply(&self, config: &mut AppConfig) {
        self.apply_worker_class(config);
        config.timeout = self.timeout;
        config.max_requests = self.max_requests;
        config.max_requests_jitter = self.max_requests_jitter.unwrap_or(0).into();
        config.preload = self.preload;
    }

    /// Copies the flags that need no supervisor into the settings of the application.
    #[cfg(not(all(unix, feature = "reload")))]
    pub(in crate::cli) fn apply(&self, config: &mut AppConfig) {
        self.apply_worker_class(config);
    }

    fn apply_worker_class(&self, config: &mut AppConfig) {
        config.worker_class = self.worker_class.map(WorkerClass::from);
        config.worker_connections = self.worker_connections.map(|connections| connections as usize);
        config.options.guest_of = config.worker_class.and_then(WorkerClass::library).map(str::to_owned);
    }

    /// Returns the name of the library whose greenlets run requests, if the flags name one.
    pub(super) fn greenlets_of(&self) -> Option<&'static str> {
        self.worker_class.map(WorkerClass::from).and_then(WorkerClass::library)
    }

    /// Whether the number of greenlets was given for requests that run in threads.
    pub(super) fn has_connections_for_threads(&self) -> bool {
        self.worker_connections.is_some() && matches!(self.worker_class, Some(WorkerClassArg::Threads))
    }
}

/// The values of `--worker-class`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WorkerClassArg {
    /// A thread for each running request
    #[value(alias = "gthread")]
    Threads,
    /// A greenlet of gevent for each running request
    Gevent,
    /// A greenlet of eventlet for each running request
    Eventlet,
}

impl From<WorkerClassArg> for WorkerClass {
    fn from(class: WorkerClassArg) -> WorkerClass {
        match class {
            WorkerClassArg::Threads => WorkerClass::Threads,
            WorkerClassArg::Gevent => WorkerClass::Gevent,
            WorkerClassArg::Eventlet => WorkerClass::Eventlet,
        }
    }
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
