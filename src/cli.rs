//! The command line: what can be asked for, what goes together, and the options that follow from it. `tls` and `reload`
//! have the flags of the optional crates.

mod log_file;
#[cfg(all(unix, feature = "reload"))]
pub(crate) mod reload;
#[cfg(feature = "tls")]
mod tls;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use amboss::{Address, LogFormat, NoLog, RunOptions, Settings, TextLog};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// Serves the built-in test application, which shows what a server tells an application.
#[derive(Debug, Parser)]
#[command(
    name = "amboss",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 stopped as asked, 1 could not serve, 2 bad command line, 130 stopped at once by a second CTRL+C.\n\
                  The environment: NO_COLOR and CLICOLOR_FORCE as usual; LISTEN_FDS (systemd) when neither --bind nor --port is given."
)]
pub(crate) struct Cli {
    #[cfg(feature = "tls")]
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    tls: tls::TlsArgs,

    #[cfg(all(unix, feature = "reload"))]
    #[command(flatten)]
    reload: reload::ReloadArgs,

    /// Reload open pages in the browser when the code has been replaced; also those of a PROGRAM that calls run_simple
    #[arg(long)]
    live: bool,

    /// Where to listen: host:port, [::1]:port, localhost:port (IPv4 and IPv6), unix://path, fd://N; may be repeated
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Vec<Address>,

    /// The port on 127.0.0.1; 0 lets the system pick one [default: 5000, or the next free one]
    #[arg(short, long, conflicts_with = "bind")]
    port: Option<u16>,

    /// A process for each running request, at most N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    processes: Option<u16>,

    /// Threads for running requests, at most N [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    threads: Option<u16>,

    /// One request at a time
    #[arg(long)]
    single: bool,

    /// How requests are logged [default: werkzeug]
    #[arg(long, value_enum)]
    log_format: Option<Format>,

    /// Log to the end of this file instead of stderr; USR1 opens it anew, after it was moved away
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// Colours in the log
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,

    /// No banner and no access log; given twice, no errors either
    #[arg(short, long, action = clap::ArgAction::Count)]
    quiet: u8,
}

/// What there is besides serving.
#[cfg(feature = "tls")]
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a certificate that browsers accept once they trust this machine's own authority
    Devcert(tls::Devcert),
}

/// The rest of the command line when the supervisor asks for a program to be started as its child.
#[cfg(all(unix, feature = "reload"))]
pub(crate) fn shimmed() -> Option<Vec<std::ffi::OsString>> {
    let mut words = std::env::args_os().skip(1);
    (words.next()? == reload::SHIM).then(|| words.collect())
}

/// Ends the process with code 2 and a sentence that says what to change on the command line.
pub(crate) fn refuse(sentence: &str) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, sentence).exit()
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Werkzeug's line, with size and duration
    Werkzeug,
    /// Common log format
    Common,
    /// Common log format with referrer and user agent
    Combined,
    /// A JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// The default port; the next free one is used instead when it is taken.
const PORT: u16 = 5000;

impl Cli {
    /// Reads the command line; ends the process with code 2 and a sentence when it can't be followed.
    pub(crate) fn read() -> Cli {
        let cli = Cli::parse();
        let concurrency = [cli.processes.is_some(), cli.threads.is_some(), cli.single];
        if concurrency.iter().filter(|&&given| given).count() > 1 {
            let sentence = if cli.single {
                "--single is one request at a time; leave out --threads and --processes"
            } else {
                "Cannot have a multi-thread and multi-process server."
            };
            Cli::command().error(ErrorKind::ArgumentConflict, sentence).exit();
        }
        #[cfg(all(unix, feature = "reload"))]
        if let Some(flag) = cli.of_its_own_server().filter(|_| cli.reload.has_program()) {
            let sentence =
                format!("{flag} is for amboss's own server; leave it out, and tell PROGRAM itself how to serve");
            Cli::command().error(ErrorKind::ArgumentConflict, sentence).exit();
        }
        cli
    }

    /// A flag that would have no effect on another program's server.
    #[cfg(all(unix, feature = "reload"))]
    fn of_its_own_server(&self) -> Option<&'static str> {
        #[cfg(feature = "tls")]
        let of_tls = self.tls.given();
        #[cfg(not(feature = "tls"))]
        let of_tls = [];
        let flags = [
            (self.processes.is_some(), "--processes"),
            (self.threads.is_some(), "--threads"),
            (self.single, "--single"),
            (self.log_format.is_some(), "--log-format"),
            (self.log_file.is_some(), "--log-file"),
        ];
        flags.into_iter().chain(of_tls).find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// Was no address asked for?
    fn is_default_address(&self) -> bool {
        self.bind.is_empty() && self.port.is_none()
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        if self.bind.is_empty() {
            return vec![Address::new("127.0.0.1", self.port.unwrap_or(PORT))];
        }
        self.bind.clone()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    pub(crate) fn options(&self) -> Result<RunOptions, String> {
        let mut settings = Settings::default();
        let terminal = io::stderr().is_terminal();
        let format = match self.log_format.unwrap_or(Format::Werkzeug) {
            Format::Werkzeug => LogFormat::Werkzeug,
            Format::Common => LogFormat::Common,
            Format::Combined => LogFormat::Combined,
            Format::Json => LogFormat::Json,
        };
        let mut options = RunOptions::default();
        let file = self.log_file.as_deref().map(log_file::LogFile::open).transpose()?;
        let text = match &file {
            // What the terminal likes does not matter there.
            Some(file) => TextLog::new(Box::new(file.clone()), format, self.color == Color::Always, false),
            None => TextLog::new(Box::new(io::stderr()), format, self.wants_color(terminal), terminal),
        };
        if let Some(file) = file {
            #[cfg(all(unix, feature = "reload"))]
            options.exclude_patterns.extend(file.pattern());
            options.reopen_logs = Some(Arc::new(move || file.reopen()));
        }
        settings.log = match self.quiet {
            0 => Arc::new(text),
            1 => Arc::new(text.errors_only()),
            _ => Arc::new(NoLog),
        };
        if let Some(threads) = self.threads {
            settings.threads = threads.into();
        }
        options.settings = settings;
        options.processes = self.processes.map_or(1, usize::from);
        options.threaded = self.single.then_some(false);
        options.next_free_port = self.is_default_address();
        options.quiet = self.is_quiet();
        options.from_systemd = self.is_default_address();
        options.live = self.live;
        #[cfg(all(unix, feature = "reload"))]
        self.reload.apply(&mut options);
        #[cfg(feature = "tls")]
        {
            options.ssl_context = self.tls.context(&self.addresses())?;
        }
        Ok(options)
    }

    /// How the requests are run, for people.
    pub(crate) fn concurrency(&self) -> String {
        match (self.single, self.processes, self.threads) {
            (true, ..) => "one request at a time".into(),
            (_, Some(processes), _) => format!("a process for each running request, at most {processes}"),
            (_, _, threads) => format!("a thread for each running request, at most {}", threads.unwrap_or(64)),
        }
    }

    fn wants_color(&self, terminal: bool) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") => false,
            Color::Auto => terminal || set("CLICOLOR_FORCE"),
        }
    }
}
