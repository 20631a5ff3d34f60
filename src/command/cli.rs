//! The command line: what can be asked for, and the options that follow from it. `app`, `tls` and `reload` have the
//! flags of Python applications and of the optional crates, `together` says what goes together.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::app::AppArgs;
use super::log_file::LogFile;
#[cfg(all(unix, feature = "reload"))]
use super::reload::ReloadArgs;
#[cfg(feature = "tls")]
use super::tls::{Devcert, TlsArgs};
use crate::{Address, BodyMode, LogFormat, NoLog, RunOptions, Settings, TextLog};

/// Serves a Python WSGI application, another program, or the built-in test application, which shows what a server tells
/// an application.
#[derive(Debug, Parser)]
#[command(
    name = "amboss",
    bin_name = "amboss",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Signals: TERM and INT (CTRL+C) stop when the running requests are done, a\n\
                  second INT stops at once. HUP reloads code and certificates where a\n\
                  supervisor runs (--reload, --workers, --timeout, --max-requests, --preload\n\
                  or PROGRAM); without one it reopens the log, reads the certificate again and\n\
                  leaves the code as it is. USR1 reopens the log. TTIN and TTOU change the\n\
                  number of workers.\n\
                  Exit codes: 0 stopped as asked, 1 could not serve, 2 bad command line, 130 stopped at once by a second CTRL+C.\n\
                  The environment: NO_COLOR and CLICOLOR_FORCE as usual; LISTEN_FDS (systemd) when neither --bind nor --port is given."
)]
pub(super) struct Cli {
    #[cfg(feature = "tls")]
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// The Python application to serve: module:object, module:factory(), module:factory("text", n=1), or a module
    /// alone, which has an `app` or `application`; instead of a module also the path of a .py file [default: the test
    /// application]
    #[arg(value_name = "APP")]
    pub(super) target: Option<String>,

    /// Serve this program instead: any that takes its sockets from AMBOSS_SERVER_FD or LISTEN_FDS
    #[cfg(all(unix, feature = "reload"))]
    #[arg(last = true, value_name = "PROGRAM")]
    pub(super) program: Vec<OsString>,

    /// Where to listen: host:port, [::1]:port, localhost:port (IPv4 and IPv6), unix://path, fd://N; may be repeated
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Vec<Address>,

    /// The port on 127.0.0.1; 0 lets the system pick one [default: 5000, or the next free one]
    #[arg(short, long, conflicts_with = "bind")]
    port: Option<u16>,

    /// A process for each running request, at most N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(super) processes: Option<u16>,

    /// Threads for running requests, at most N [default: 64; 16 for APP]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) threads: Option<u16>,

    /// One request at a time
    #[arg(long)]
    pub(super) single: bool,

    /// How long running requests have when a server stops; what is not done then is cut
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = graceful)]
    graceful_timeout: f64,

    /// How long a complete request waits for a thread; then it is answered with 503. 0: as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = queue)]
    queue_timeout: f64,

    /// Call the application when the body of a request is complete, or let it read the body as it arrives [default:
    /// collect]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) body_mode: Option<Bodies>,

    /// Where bodies of more than 16 MiB are kept until they are complete, in files without a name [default: TMPDIR,
    /// else /var/tmp]
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) body_directory: Option<PathBuf>,

    /// Reload open pages in the browser when the code has been replaced; also those of a PROGRAM that calls run_simple
    #[arg(long)]
    live: bool,

    /// How requests are logged [default: werkzeug]
    #[arg(long, value_enum)]
    pub(super) log_format: Option<Format>,

    /// Log to the end of this file instead of stderr; USR1 opens it anew, after it was moved away
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,

    /// Colours in the log; auto: on a terminal, unless the environment says otherwise
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,

    /// No banner and no access log; given twice, no errors either
    #[arg(short, long, action = clap::ArgAction::Count)]
    quiet: u8,

    #[command(flatten)]
    pub(super) app: AppArgs,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(super) tls: TlsArgs,

    #[cfg(all(unix, feature = "reload"))]
    #[command(flatten)]
    pub(super) reload: ReloadArgs,
}

/// What there is besides serving.
#[cfg(feature = "tls")]
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a certificate that browsers accept once they trust this machine's own authority
    Devcert(Devcert),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// Werkzeug's line, with size and duration
    Werkzeug,
    /// Common log format
    Common,
    /// Common log format with referrer and user agent
    Combined,
    /// A JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Bodies {
    /// Complete before the call; slow uploads take no thread
    Collect,
    /// Read by the application as they arrive
    Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// The default port; the next free one is used instead when it is taken.
const PORT: u16 = 5000;

/// Threads for a Python application: one that waits for the interpreter lock is a thread, too.
const PYTHON_THREADS: usize = 16;

/// 0 is without end.
fn queue(text: &str) -> Result<f64, String> {
    if text == "0" {
        return Ok(0.0);
    }
    graceful(text).map_err(|error| format!("{error}, or 0"))
}

/// So that nobody has to be killed to stop it, and a number is not taken for milliseconds.
fn graceful(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 0.1 to 86400 (a day)".into()),
    }
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// What can't be followed; and help and version, which are to be printed.
    pub(super) fn read(words: &[OsString]) -> Result<Cli, clap::Error> {
        let cli = Cli::try_parse_from(words)?;
        cli.check()?;
        Ok(cli)
    }

    /// Was no address asked for?
    fn is_default_address(&self) -> bool {
        self.bind.is_empty() && self.port.is_none()
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        if self.bind.is_empty() {
            return vec![Address::new("127.0.0.1", self.port.unwrap_or(PORT))];
        }
        self.bind.clone()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    pub(super) fn options(&self) -> Result<RunOptions, String> {
        let mut settings = Settings::default();
        settings.timeouts.shutdown = Duration::from_secs_f64(self.graceful_timeout);
        settings.timeouts.queued = match self.queue_timeout {
            0.0 => Duration::MAX,
            seconds => Duration::from_secs_f64(seconds),
        };
        let terminal = io::stderr().is_terminal();
        let format = match self.log_format.unwrap_or(Format::Werkzeug) {
            Format::Werkzeug => LogFormat::Werkzeug,
            Format::Common => LogFormat::Common,
            Format::Combined => LogFormat::Combined,
            Format::Json => LogFormat::Json,
        };
        let mut options = RunOptions::default();
        let file = self.log_file.as_deref().map(LogFile::open).transpose()?;
        let name = file.as_ref().map(LogFile::name);
        let text = match file {
            // What the terminal likes does not matter there.
            Some(file) => TextLog::new(Box::new(file), format, self.color == Color::Always, false),
            None => TextLog::new(Box::new(io::stderr()), format, self.wants_color(terminal), terminal),
        };
        if let Some(name) = name {
            #[cfg(all(unix, feature = "reload"))]
            options.exclude_patterns.extend(name.pattern());
            options.reopen_logs = Some(Arc::new(move || name.reopen()));
        }
        settings.log = match self.quiet {
            0 => Arc::new(text),
            1 => Arc::new(text.errors_only()),
            _ => Arc::new(NoLog),
        };
        match self.threads {
            Some(threads) => settings.threads = threads.into(),
            None if self.target.is_some() => settings.threads = PYTHON_THREADS,
            None => {}
        }
        if let Some(mode) = self.body_mode {
            settings.body_mode = match mode {
                Bodies::Collect => BodyMode::Collect,
                Bodies::Stream => BodyMode::Stream,
            };
        }
        if let Some(directory) = &self.body_directory {
            if !directory.is_dir() {
                return Err(format!("--body-directory {} is not a directory; make it first", directory.display()));
            }
            settings.body_directory = Some(directory.clone());
        }
        options.settings = settings;
        options.processes = self.processes.map_or(1, usize::from);
        options.threaded = self.single.then_some(false);
        options.next_free_port = self.is_default_address();
        options.quiet = self.is_quiet();
        options.from_systemd = self.is_default_address();
        options.live = self.live;
        #[cfg(all(unix, feature = "reload"))]
        {
            self.reload.apply(&mut options);
            options.program = (!self.program.is_empty()).then(|| self.program.clone());
            // An application in Python is its modules, and those it is looking for.
            options.watch_reported |= self.target.is_some() && options.use_reloader;
            options.supervised = self.app.needs_supervisor();
        }
        #[cfg(feature = "tls")]
        {
            options.ssl_context = self.tls.context(&self.addresses())?;
        }
        Ok(options)
    }

    /// How the requests are run, for people.
    pub(super) fn concurrency(&self) -> String {
        match (self.single, self.processes, self.threads) {
            (true, ..) => "one request at a time".into(),
            (_, Some(processes), _) => format!("a process for each running request, at most {processes}"),
            (_, _, threads) => format!("a thread for each running request, at most {}", threads.unwrap_or(64)),
        }
    }

    fn wants_color(&self, terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => crate::wants_color(terminal),
        }
    }
}
