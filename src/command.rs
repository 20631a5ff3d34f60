//! The `amboss` command, which exists twice: as a program of its own, and as the one that amboss's Python package
//! installs. Both read the same command line here; a [`Runner`] is what differs between them. No stable interface.

mod app;
mod cli;
mod interpreter;
mod log_file;
#[cfg(all(unix, feature = "reload"))]
mod reload;
#[cfg(feature = "tls")]
mod tls;
mod together;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::CommandFactory;

use crate::{run_on, Address, RunError, RunOptions, ServeError, Server, TestApp};
use cli::Cli;

pub use interpreter::become_python;

/// Called to reopen the log.
pub type ReopenLogs = Arc<dyn Fn() + Send + Sync>;

/// What a process does for the command.
pub trait Runner {
    /// Serves the Python application that was named: the text as it stands on the command line.
    ///
    /// # Errors
    /// What [`run`] is to say and to end with; [`RunError::Exit`] when everything has been said.
    fn serve(&mut self, target: &str, told: Told) -> Result<(), RunError>;

    /// A server without a Python application is about to serve in this process: watches for signals from now on.
    ///
    /// # Errors
    /// When it can't.
    fn started(&mut self, server: &Server, signals: Signals) -> Result<(), RunError>;

    /// Serves until that server is told to stop.
    ///
    /// # Errors
    /// What ended it.
    fn wait(&mut self, server: &mut Server) -> Result<(), ServeError> {
        server.serve_forever()
    }

    /// The words that start this command again, without its arguments: an interpreter, and what makes it run the
    /// command. `None` is this executable.
    fn itself(&self) -> Option<Vec<OsString>> {
        None
    }
}

/// What signals have to do with.
#[derive(Clone)]
pub struct Signals {
    /// Nothing is to be said when one comes.
    pub quiet: bool,
    /// What USR1 asks for, if there is a log file.
    pub reopen_logs: Option<ReopenLogs>,
}

/// What the command line says about serving a Python application.
#[derive(Clone, Debug)]
pub struct Told {
    /// Where to listen.
    pub addresses: Vec<Address>,
    /// How; the threads are in its settings.
    pub options: RunOptions,
    /// After so long a request's worker is replaced.
    pub timeout: Option<Duration>,
    /// After so many requests a worker is replaced.
    pub max_requests: Option<u64>,
    /// Up to so many more, at random.
    pub max_requests_jitter: u64,
    /// The application is imported once, and the workers are forked from there.
    pub preload: bool,
    /// The command's arguments, without what says which interpreter runs them.
    pub arguments: Vec<OsString>,
}

/// Does what the command line asks for, and returns the exit code. The first word is the command's own name.
pub fn run(words: impl IntoIterator<Item = OsString>, runner: &mut dyn Runner) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    #[cfg(all(unix, feature = "reload"))]
    if words.get(1).is_some_and(|word| word == reload::SHIM) {
        eprintln!("amboss: {}", crate::exec_as_child(words.into_iter().skip(2)));
        return FAILED;
    }
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => return say(&error),
    };
    #[cfg(feature = "tls")]
    if let Some(cli::Command::Devcert(devcert)) = &cli.command {
        return devcert.run().map_or_else(|sentence| refuse(&sentence), |()| 0);
    }
    let served = match cli.options() {
        Ok(options) => serve(&cli, options, &words, runner),
        Err(sentence) => return refuse(&sentence),
    };
    match served {
        Ok(()) => 0,
        Err(RunError::Exit(code)) => u8::try_from(code).unwrap_or(FAILED),
        Err(error @ (RunError::Options(_) | RunError::Reload(_))) => refuse(&error.to_string()),
        Err(error) => {
            eprintln!("amboss: {error}");
            FAILED
        }
    }
}

/// The exit code of a command that could not serve.
const FAILED: u8 = 1;

fn serve(cli: &Cli, options: RunOptions, words: &[OsString], runner: &mut dyn Runner) -> Result<(), RunError> {
    let Some(target) = &cli.target else {
        let app = TestApp::new(&options.settings, &cli.concurrency());
        let signals = Signals { quiet: options.quiet, reopen_logs: options.reopen_logs.clone() };
        return run_on(&cli.addresses(), app, options, |server| runner.started(server, signals));
    };
    let arguments = app::without_python(words.iter().skip(1));
    if let Some(python) = cli.app.python() {
        return become_python(Some(python), &arguments);
    }
    let mut told = Told {
        addresses: cli.addresses(),
        options,
        timeout: None,
        max_requests: None,
        max_requests_jitter: 0,
        preload: false,
        arguments,
    };
    cli.app.tell(&mut told);
    runner.serve(target, told)
}

/// Says what to change on the command line; the exit code is 2.
fn refuse(sentence: &str) -> u8 {
    say(&Cli::command().error(ErrorKind::ValueValidation, sentence))
}

/// Help and version are "errors", too, for whoever parses.
fn say(error: &clap::Error) -> u8 {
    // Whoever closed the pipe doesn't want to know.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(FAILED)
}
