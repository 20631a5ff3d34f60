//! The server's options that follow from the configuration.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log_file::{self, LogFile};
use super::slow_log::SlowLog;
use super::split_log::SplitLog;
use super::target;
use super::values::{is_standard_stream, Color, Config, LogLevel};
use crate::options::check_proxies;
use crate::toolkit::files::{Folder, FolderOptions};
use crate::toolkit::Response;
use crate::{Address, Application, Log, NoLog, RunOptions, Settings, TextLog};
#[cfg(all(unix, feature = "reload"))]
use crate::{LaunchPlan, OnLoadFailure};

/// The default port. If it is taken, the next free one is used.
const PORT: u16 = 5000;

/// The default number of threads for a Python application. It is lower than for other applications, because threads
/// that wait for the interpreter lock count as well.
const PYTHON_THREADS: usize = 16;

impl Config {
    /// Whether neither an address nor a port was given.
    fn is_default_address(&self) -> bool {
        self.bind.is_empty() && self.port.is_none()
    }

    /// Whether neither a banner nor what a supervisor does is printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.log.quiet > 0 || self.log.level >= LogLevel::Warning
    }

    /// Returns the addresses to listen on.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        if self.bind.is_empty() {
            return vec![Address::new("127.0.0.1", self.port.unwrap_or(PORT))];
        }
        self.bind.clone()
    }

    /// Describes in words how requests run.
    pub(crate) fn concurrency(&self) -> String {
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
    ///
    /// With `is_check`, no file is created.
    pub(crate) fn options(&self, is_check: bool) -> Result<RunOptions, String> {
        let mut options = RunOptions { settings: self.settings()?, ..RunOptions::default() };
        #[cfg(target_os = "linux")]
        if self.process.user.is_some() || self.process.group.is_some() {
            let (user, group) = (self.process.user.as_deref(), self.process.group.as_deref());
            options.run_as = Some(crate::RunAs::new(user, group).map_err(|error| error.to_string())?);
        }
        if is_check {
            self.check_logs()?;
        } else {
            options.settings.log = self.log(&mut options)?;
        }
        options.processes = self.processes.map_or(1, usize::from);
        options.threaded = self.single.then_some(false);
        options.next_free_port = self.is_default_address();
        options.quiet = self.is_quiet();
        options.from_systemd = self.is_default_address();
        options.live_reload = self.live;
        options.use_debugger = self.debug;
        options.debug_anywhere = self.debug_anywhere;
        options.root_path.clone_from(&self.root_path);
        options.health.clone_from(&self.health);
        #[cfg(unix)]
        options.pid_file.clone_from(&self.process.pid);
        self.apply_site(&mut options)?;
        #[cfg(all(unix, feature = "reload"))]
        self.apply_reload(&mut options);
        #[cfg(feature = "tls")]
        {
            options.ssl_context = self.ssl_context()?;
        }
        Ok(options)
    }

    /// Returns all settings except the log.
    fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.proxies = self.proxies.clone();
        check_proxies(&settings.proxies)?;
        settings.request_ids = self.log.request_ids;
        settings.limits = self.limits;
        settings.timeouts = self.timeouts;
        settings.backlog = self.backlog;
        #[cfg(unix)]
        {
            settings.unix_mode = self.unix_mode;
        }
        match self.threads {
            Some(threads) => settings.runtime.threads = threads.into(),
            None if self.python.runs_one => settings.runtime.threads = 1,
            None if target::needs_python(self) => settings.runtime.threads = PYTHON_THREADS,
            None => {}
        }
        settings.body_mode = self.body_mode;
        if let Some(directory) = &self.body_directory {
            if !directory.is_dir() {
                let directory = directory.display();
                return Err(format!("--body-directory {directory} is not a directory; create it first"));
            }
            settings.body_directory = Some(directory.clone());
        }
        Ok(settings)
    }

    /// Opens the logs, and sets the options that concern their files.
    fn log(&self, options: &mut RunOptions) -> Result<Arc<dyn Log>, String> {
        let log = &self.log;
        let is_quiet = log.quiet > 0;
        let has_access = !log.no_access_log && !is_quiet;
        let has_errors = log.quiet < 2 && log.level != LogLevel::Critical;
        let of_errors = log.error_file.as_ref().or(log.file.as_ref());
        let of_access = log.access_file.as_ref().or(log.file.as_ref());
        let mut files = Vec::new();
        // Standard output is for access lines alone.
        let is_stdout = log.access_file.as_deref().is_some_and(is_standard_stream);
        let logs = if of_access == of_errors && !is_stdout {
            let log = self.open_log(of_errors, false, options, &mut files)?;
            match (has_access, has_errors) {
                (true, true) => Arc::new(log) as Arc<dyn Log>,
                (false, true) => Arc::new(log.errors_only()),
                (true, false) => Arc::new(SplitLog { access: Some(log), errors: None }),
                (false, false) => Arc::new(NoLog),
            }
        } else {
            let access = has_access.then(|| self.open_log(of_access, is_stdout, options, &mut files)).transpose()?;
            let errors = has_errors.then(|| self.open_log(of_errors, false, options, &mut files)).transpose()?;
            Arc::new(SplitLog { access, errors })
        };
        #[cfg(all(unix, feature = "reload"))]
        options.exclude_patterns.extend(files.iter().filter_map(|file| file.pattern()));
        if !files.is_empty() {
            options.reopen_logs = Some(Arc::new(move || files.iter().for_each(|file| file.reopen())));
        }
        Ok(match log.slow.filter(|_| has_errors) {
            Some(limit) => Arc::new(SlowLog { log: logs, limit }),
            None => logs,
        })
    }

    /// Checks that the logs can be opened.
    fn check_logs(&self) -> Result<(), String> {
        self.log.files().map(PathBuf::as_path).try_for_each(LogFile::check)
    }

    /// Opens a log in a file, or on stderr or stdout. Names of files are added to `files`.
    fn open_log(
        &self,
        path: Option<&PathBuf>,
        is_stdout: bool,
        options: &RunOptions,
        files: &mut Vec<Arc<log_file::Name>>,
    ) -> Result<TextLog, String> {
        let standard = |stream: Box<dyn io::Write + Send>, terminal| (stream, self.wants_color(terminal), terminal);
        let (out, color, immediate) = match path.filter(|path| !is_standard_stream(path)) {
            _ if is_stdout => standard(Box::new(io::stdout()), io::stdout().is_terminal()),
            Some(path) => {
                let file = LogFile::open(path, |created| options.own(created))?;
                files.push(file.name());
                // `auto` means colours on a terminal only, and this log is a file.
                (Box::new(file) as _, self.log.color == Color::Always, false)
            }
            None => standard(Box::new(io::stderr()), io::stderr().is_terminal()),
        };
        let log = TextLog::new(out, self.log.format, color, immediate);
        Ok(match &self.log.access_format {
            Some(format) => log.access_format(format.clone()),
            None => log,
        })
    }

    /// Whether to colour the log on stderr. `auto` follows the same rule as the core, `crate::wants_color`; anstream
    /// would bring a second rule that also reads `CLICOLOR`, `TERM` and `CI`.
    fn wants_color(&self, terminal: bool) -> bool {
        match self.log.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => crate::wants_color(terminal),
        }
    }

    /// Returns how folders are served. `listing`: whether they are listed unless the settings say otherwise.
    pub(crate) fn folder_options(&self, listing: bool) -> FolderOptions {
        let mut options = FolderOptions::default();
        options.spa = self.site.spa;
        options.listing = listing && !self.site.no_listing;
        options.cache = self.site.cache;
        options.precompressed = true;
        options.withheld = self.own_files();
        options
    }

    /// Returns the names of the server's own files, which no folder publishes.
    fn own_files(&self) -> Vec<String> {
        let mut paths: Vec<&PathBuf> = self.log.files().collect();
        #[cfg(unix)]
        paths.extend(&self.process.pid);
        #[cfg(feature = "tls")]
        paths.extend(&self.tls.key);
        let names = paths.into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        names.chain(["amboss.toml".to_owned()]).chain(self.site.withheld.iter().cloned()).collect()
    }

    /// Copies files, CGI scripts and hosts into the options. The loader of a Python application replaces the
    /// applications of [`target::python_hosts`].
    ///
    /// # Errors
    /// A message: a folder or a host can't be used.
    fn apply_site(&self, options: &mut RunOptions) -> Result<(), String> {
        for (host, app) in &self.site.vhost {
            let app: Arc<dyn Application> = match target::folder(app).filter(|_| !target::is_program(app)) {
                Some(folder) => Arc::new(self.folder(folder)?),
                None => Arc::new(Response::empty(503)),
            };
            options.hosts.push((host.clone(), app));
        }
        options.static_files.clone_from(&self.site.static_files);
        options.folder_options = self.folder_options(false);
        #[cfg(unix)]
        options.cgi.clone_from(&self.site.cgi);
        options.allowed_hosts = (!self.site.allowed_host.is_empty()).then(|| self.site.allowed_host.clone());
        // A forked worker and the error page of a PROGRAM know no addresses.
        options.bound_names.extend(crate::surroundings::names_of(&self.addresses()));
        crate::surroundings::check(options).map_err(|error| error.to_string())
    }

    /// Opens a folder that is served as an application.
    ///
    /// # Errors
    /// A message: the folder can't be served.
    pub(crate) fn folder(&self, folder: &Path) -> Result<Folder, String> {
        Folder::with_options(folder, self.folder_options(true)).map_err(|error| error.to_string())
    }

    /// Copies the settings of reloading and workers into the options.
    #[cfg(all(unix, feature = "reload"))]
    fn apply_reload(&self, options: &mut RunOptions) {
        let reload = &self.reload;
        options.use_reloader = reload.reload;
        options.reloader_type = reload.reloader_type;
        options.reloader_interval = Some(reload.reloader_interval);
        options.extra_files.clone_from(&reload.extra_files);
        options.exclude_patterns.extend(reload.exclude_patterns.iter().cloned());
        options.on_load_failure = if reload.error_page { OnLoadFailure::ErrorPage } else { OnLoadFailure::KeepServing };
        options.workers = reload.workers.into();
        // A served folder is what its author changes.
        options.extra_files.extend(self.app.as_deref().and_then(target::folder).map(Path::to_owned));
    }

    /// Checks that the PROGRAM can be started, unless it is built first.
    ///
    /// # Errors
    /// Why it can't.
    pub(crate) fn check_program(&self) -> Result<(), crate::RunError> {
        #[cfg(all(unix, feature = "reload"))]
        if let Some(program) = self.program.first().filter(|_| !self.reload.reload) {
            return crate::supervise::check_runnable(program);
        }
        Ok(())
    }

    /// Returns how a supervisor starts its workers.
    #[cfg(all(unix, feature = "reload"))]
    pub(crate) fn plan(&self) -> LaunchPlan {
        let python = &self.python;
        LaunchPlan {
            program: (!self.program.is_empty()).then(|| self.program.clone()),
            // A Python application reports its modules, including those that it failed to find.
            watch_reported: self.reload.watch_reported || target::needs_python(self) && self.reload.reload,
            spare: self.reload.spare,
            supervised: python.timeout.is_some() || python.max_requests.is_some() || python.preload,
            ..LaunchPlan::default()
        }
    }

    /// Loads or makes the certificates, if HTTPS was asked for.
    ///
    /// # Errors
    /// A message: why a certificate can't be used, or that the number of keys is wrong.
    #[cfg(feature = "tls")]
    fn ssl_context(&self) -> Result<Option<crate::SslContext>, String> {
        use crate::{ClientCertificates, PlainHttpPolicy, SslContext};

        let tls = &self.tls;
        let (certs, keys) = (tls.cert.len(), tls.key.len());
        if keys != 0 && keys != certs {
            return Err(format!(
                "the number of --cert is {certs}, and the number of --key is {keys}: give --key once for each --cert, in \
                 the same order, and name a file that contains both with both flags"
            ));
        }
        let context = match tls.cert.split_first() {
            Some((first, others)) => {
                let mut keys = tls.key.iter().map(std::path::PathBuf::as_path);
                let first = SslContext::from_files(first, keys.next());
                first.and_then(|first| {
                    others.iter().try_fold(first, |all, cert| all.with_certificate(cert, keys.next()))
                })
            }
            None if tls.adhoc => {
                let addresses = self.addresses();
                // The names that clients use for the server; a wildcard address has none.
                let hosts: Vec<&str> = addresses.iter().filter_map(host).collect();
                SslContext::adhoc_for(&hosts)
            }
            None => return Ok(None),
        };
        let plain = if tls.http_and_https { PlainHttpPolicy::Serve } else { PlainHttpPolicy::Redirect };
        let context = context.and_then(|context| {
            let context = context.plain_http(plain).min_version(tls.min_version)?;
            let context = match &tls.ciphers {
                Some(ciphers) => context.ciphers(ciphers)?,
                None => context,
            };
            context.client_certificates(match &tls.client_ca {
                None => ClientCertificates::Off,
                Some(path) if tls.client_optional => ClientCertificates::Optional(path.clone()),
                Some(path) => ClientCertificates::Required(path.clone()),
            })
        });
        context.map(Some).map_err(|error| error.to_string())
    }
}

/// Returns the host of an address that stands for one host.
#[cfg(feature = "tls")]
fn host(address: &Address) -> Option<&str> {
    match address {
        Address::Tcp { host, .. } if !matches!(host.as_str(), "" | "*" | "0.0.0.0" | "::") => Some(host),
        _ => None,
    }
}
