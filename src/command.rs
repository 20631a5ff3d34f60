//! The `amboss` command, which exists twice: as a program of its own, and as the one that amboss's Python package
//! installs. Both read the same command line here; a [`Runner`] is what differs between them. No stable interface.

mod app;
mod built_in;
mod cli;
mod hang_up;
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

use crate::{run_host, Address, RunError, RunOptions, ServeError, Server, Worker};
use built_in::BuiltIn;
use cli::Cli;

pub use hang_up::HangUp;
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

    /// A server without a Python application is about to serve in this process, `worker`: watches for signals from now
    /// on.
    ///
    /// # Errors
    /// When it can't.
    fn started(&mut self, server: &Server, worker: &Worker, signals: Signals) -> Result<(), RunError>;

    /// Serves until that server is told to stop.
    ///
    /// # Errors
    /// What ended it.
    fn wait(&mut self, mut server: Server) -> Result<(), ServeError> {
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
    /// What HUP asks for where no supervisor runs.
    pub hang_up: HangUp,
}

impl Signals {
    /// What these options say about signals.
    pub fn new(options: &RunOptions) -> Signals {
        const ADVICE: &str = "start amboss with --workers 2 or more";
        Signals {
            quiet: options.quiet,
            reopen_logs: options.reopen_logs.clone(),
            hang_up: HangUp::new(options, ADVICE),
        }
    }
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
    let mut words: Vec<OsString> = words.into_iter().collect();
    if words.is_empty() {
        words.push("amboss".into());
    }
    #[cfg(all(unix, feature = "reload"))]
    if words.get(1).is_some_and(|word| word == reload::SHIM) {
        say!("amboss: {}", crate::exec_as_child(words.into_iter().skip(2)));
        return FAILED;
    }
    let is_page = words.get(1).is_some_and(|word| word == built_in::PAGE);
    if is_page {
        words.remove(1);
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
        Ok(options) if is_page || cli.target.is_none() => serve(&cli, options, &words, is_page, runner),
        Ok(options) => serve_app(&cli, options, &words, runner),
        Err(sentence) => return refuse(&sentence),
    };
    match served {
        Ok(()) => 0,
        Err(RunError::Exit(code)) => u8::try_from(code).unwrap_or(FAILED),
        Err(error @ (RunError::Options(_) | RunError::Reload(_))) => refuse(&error.to_string()),
        Err(error) => {
            say!("amboss: {error}");
            FAILED
        }
    }
}

/// The exit code of a command that could not serve.
const FAILED: u8 = 1;

/// Serves the test application, another program, or the page.
fn serve(
    cli: &Cli,
    mut options: RunOptions,
    words: &[OsString],
    is_page: bool,
    runner: &mut dyn Runner,
) -> Result<(), RunError> {
    if is_page {
        built_in::check_page()?;
    } else {
        start_again(&mut options, &words[1..], runner.itself());
    }
    let host = BuiltIn::new(&options, &cli.concurrency(), runner);
    run_host(&cli.addresses(), host, options)
}

fn serve_app(cli: &Cli, mut options: RunOptions, words: &[OsString], runner: &mut dyn Runner) -> Result<(), RunError> {
    let arguments = app::without_python(&words[1..]);
    if let Some(python) = cli.app.python() {
        return become_python(Some(python), &arguments);
    }
    start_again(&mut options, &arguments, runner.itself());
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
    runner.serve(cli.target.as_deref().unwrap_or_default(), told)
}

/// What a supervisor runs in its children.
#[cfg(all(unix, feature = "reload"))]
fn start_again(options: &mut RunOptions, arguments: &[OsString], itself: Option<Vec<OsString>>) {
    let Some(itself) = itself else {
        // The rest is this executable anyhow.
        options.shim = std::env::current_exe().ok().map(|this| vec![this.into(), reload::SHIM.into()]);
        return;
    };
    let with = |word: Option<&str>, arguments: &[OsString]| {
        itself.iter().cloned().chain(word.map(OsString::from)).chain(arguments.iter().cloned()).collect()
    };
    options.page = Some(with(Some(built_in::PAGE), arguments));
    if options.program.is_none() {
        options.again = Some(with(None, arguments));
    } else if !options.watch_reported {
        // A start of the interpreter that is worth it only for programs that don't know of amboss.
        options.shim = Some(with(Some(reload::SHIM), &[]));
    }
}

#[cfg(not(all(unix, feature = "reload")))]
fn start_again(_: &mut RunOptions, _: &[OsString], _: Option<Vec<OsString>>) {}

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
