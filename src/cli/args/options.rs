//! The server options that follow from the command line.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use super::conflicts;
use super::serve::{Bodies, Color, Format, ServeArgs};
use super::site;
use crate::cli::log_file::LogFile;
use crate::options::check_proxies;
#[cfg(all(unix, feature = "reload"))]
use crate::LaunchPlan;
use crate::{Address, BodyMode, Log, LogFormat, NoLog, RunOptions, Settings, TextLog};

/// The default port. If it is taken, the next free one is used.
const PORT: u16 = 5000;

/// The default number of threads for a Python application. It is lower than for other applications, because threads
/// that wait for the interpreter lock count as well.
const PYTHON_THREADS: usize = 16;

impl ServeArgs {
    /// Returns the message for a flag that excludes requests in greenlets.
    pub(in crate::cli) fn greenlet_conflict(&self) -> Option<String> {
        conflicts::with_greenlets(self)
    }

    /// Whether neither an address nor a port was given.
    fn is_default_address(&self) -> bool {
        self.bind.is_empty() && self.port.is_none()
    }

    /// Returns the name of the Python application.
    pub(in crate::cli) fn python_target(&self) -> Option<&str> {
        self.target.as_deref().filter(|target| site::folder(target).is_none())
    }

    /// Whether a Python application is served, as APP or for a host.
    pub(in crate::cli) fn needs_python(&self) -> bool {
        self.python_target().is_some() || !self.site.python_hosts().is_empty()
    }

    /// Returns the folder to serve.
    pub(in crate::cli) fn folder(&self) -> Option<&Path> {
        site::folder(self.target.as_deref()?)
    }

    /// Returns the addresses to listen on.
    pub(in crate::cli) fn addresses(&self) -> Vec<Address> {
        if self.bind.is_empty() {
            return vec![Address::new("127.0.0.1", self.port.unwrap_or(PORT))];
        }
        self.bind.clone()
    }

    /// Describes in words how requests run.
    pub(in crate::cli) fn concurrency(&self) -> String {
        match (self.single, self.processes, self.threads) {
            (true, ..) => "one request at a time".into(),
            (_, Some(processes), _) => format!("a process for each running request, at most {processes}"),
            (_, _, threads) => format!("a thread for each running request, at most {}", threads.unwrap_or(64)),
        }
    }

    /// Returns the server options.
    ///
    /// # Errors
    /// A message: a file can't be opened, a directory is missing, or a certificate can't be used.
    pub(in crate::cli) fn options(&self) -> Result<RunOptions, String> {
        let mut options = RunOptions { settings: self.settings()?, ..RunOptions::default() };
        options.settings.log = self.log(&mut options)?;
        options.processes = self.processes.map_or(1, usize::from);
        options.threaded = self.single.then_some(false);
        options.next_free_port = self.is_default_address();
        options.quiet = self.quiet > 0;
        options.from_systemd = self.is_default_address();
        options.live_reload = self.live;
        self.site.apply(&mut options, &self.addresses())?;
        self.debug.apply(&mut options);
        #[cfg(all(unix, feature = "reload"))]
        {
            self.reload.apply(&mut options);
            // A served folder is what its author changes.
            options.extra_files.extend(self.folder().map(Path::to_owned));
        }
        #[cfg(feature = "tls")]
        {
            options.ssl_context = self.tls.context(&self.addresses())?;
        }
        Ok(options)
    }

    /// Returns how a supervisor starts its workers.
    #[cfg(all(unix, feature = "reload"))]
    pub(in crate::cli) fn plan(&self) -> LaunchPlan {
        let mut plan = self.reload.plan();
        plan.program = (!self.program.is_empty()).then(|| self.program.clone());
        // A Python application reports its modules, including those that it failed to find.
        plan.watch_reported |= self.needs_python() && self.reload.is_reloading();
        plan.supervised = self.app.needs_supervisor();
        plan
    }

    /// Returns all settings except the log.
    fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        self.proxies.apply(&mut settings.proxies);
        check_proxies(&settings.proxies)?;
        settings.timeouts.shutdown = self.graceful_timeout;
        settings.timeouts.queued = self.queue_timeout;
        match self.threads {
            Some(threads) => settings.runtime.threads = threads.into(),
            None if self.needs_python() => settings.runtime.threads = PYTHON_THREADS,
            None => {}
        }
        match self.body_mode {
            Some(Bodies::Collect) => settings.body_mode = BodyMode::Collect,
            Some(Bodies::Stream) => settings.body_mode = BodyMode::Stream,
            None => {}
        }
        if let Some(directory) = &self.body_directory {
            if !directory.is_dir() {
                let directory = directory.display();
                return Err(format!("--body-directory {directory} is not a directory; create it first"));
            }
            settings.body_directory = Some(directory.clone());
        }
        Ok(settings)
    }

    /// Opens the log, and sets the options that concern its file.
    fn log(&self, options: &mut RunOptions) -> Result<Arc<dyn Log>, String> {
        let format = match self.log_format.unwrap_or(Format::Werkzeug) {
            Format::Werkzeug => LogFormat::Werkzeug,
            Format::Common => LogFormat::Common,
            Format::Combined => LogFormat::Combined,
            Format::Json => LogFormat::Json,
        };
        let log = match &self.log_file {
            Some(path) => {
                let file = LogFile::open(path)?;
                let name = file.name();
                #[cfg(all(unix, feature = "reload"))]
                options.exclude_patterns.extend(name.pattern());
                options.reopen_logs = Some(Arc::new(move || name.reopen()));
                // `auto` means colours on a terminal only, and this log is a file.
                TextLog::new(Box::new(file), format, self.color == Color::Always, false)
            }
            None => {
                let terminal = io::stderr().is_terminal();
                TextLog::new(Box::new(io::stderr()), format, self.wants_color(terminal), terminal)
            }
        };
        Ok(match self.quiet {
            0 => Arc::new(log),
            1 => Arc::new(log.errors_only()),
            _ => Arc::new(NoLog),
        })
    }

    /// Whether to colour the log on stderr. `auto` follows the same rule as the core, `crate::wants_color`; anstream
    /// would bring a second rule that also reads `CLICOLOR`, `TERM` and `CI`.
    fn wants_color(&self, terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => crate::wants_color(terminal),
        }
    }
}
