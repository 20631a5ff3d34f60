//! The values of all settings, with their types.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amboss_core::{AccessFormat, Address, BodyMode, Limits, LogFormat, ProxySettings, Settings, Timeouts};

#[cfg(all(unix, feature = "reload"))]
use crate::reload_options::ReloaderType;

/// The values of all settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) app: Option<String>,
    pub(crate) program: Vec<OsString>,
    pub(crate) bind: Vec<Address>,
    pub(crate) port: Option<u16>,
    pub(crate) backlog: i32,
    #[cfg(unix)]
    pub(crate) unix_mode: Option<u32>,
    pub(crate) processes: Option<u16>,
    pub(crate) threads: Option<u16>,
    pub(crate) single: bool,
    pub(crate) body_mode: BodyMode,
    pub(crate) body_directory: Option<PathBuf>,
    pub(crate) live: bool,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) log: LogConfig,
    pub(crate) process: ProcessConfig,
    pub(crate) root_path: Option<String>,
    pub(crate) health: Option<String>,
    pub(crate) python: PythonConfig,
    pub(crate) site: SiteConfig,
    pub(crate) proxies: ProxySettings,
    pub(crate) debug: bool,
    pub(crate) debug_anywhere: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: TlsConfig,
    #[cfg(all(unix, feature = "reload"))]
    pub(crate) reload: ReloadConfig,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) file: Option<PathBuf>,
    pub(crate) access_file: Option<PathBuf>,
    pub(crate) error_file: Option<PathBuf>,
    pub(crate) no_access_log: bool,
    pub(crate) access_format: Option<AccessFormat>,
    pub(crate) slow: Option<Duration>,
    pub(crate) request_ids: bool,
    pub(crate) level: LogLevel,
    pub(crate) color: Color,
    pub(crate) quiet: u8,
}

impl LogConfig {
    /// Returns the files of the logs.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let paths = [&self.file, &self.access_file, &self.error_file].into_iter().flatten();
        paths.filter(|path| !is_standard_stream(path))
    }
}

/// Whether the path of a log stands for stdout or stderr.
pub(crate) fn is_standard_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// The least important messages to print. Access lines are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// The banner, and what a supervisor does.
    #[default]
    Info,
    /// Warnings and errors, which the server does not tell apart.
    Warning,
    /// Nothing: errors of requests are less.
    Critical,
}

/// Whether the log is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// The process: its directory, environment, user and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessConfig {
    pub(crate) chdir: Option<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) env_file: Vec<PathBuf>,
    #[cfg(unix)]
    pub(crate) pid: Option<PathBuf>,
    #[cfg(unix)]
    pub(crate) umask: Option<u32>,
    #[cfg(target_os = "linux")]
    pub(crate) user: Option<String>,
    #[cfg(target_os = "linux")]
    pub(crate) group: Option<String>,
    #[cfg(target_os = "linux")]
    pub(crate) name: Option<String>,
}

/// How Python applications run.
#[derive(Clone, Debug, Default)]
pub(crate) struct PythonConfig {
    pub(crate) python: Option<PathBuf>,
    pub(crate) factory: bool,
    pub(crate) worker_class: Option<WorkerClass>,
    /// Whether a worker runs one request at a time, unless the number of threads is given.
    pub(crate) runs_one: bool,
    pub(crate) worker_connections: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_requests: Option<u64>,
    pub(crate) max_requests_jitter: u32,
    pub(crate) preload: bool,
}

/// How requests run in a worker: gunicorn's worker classes, as far as there is a counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerClass {
    /// In threads.
    Threads,
    /// In greenlets of gevent.
    Gevent,
    /// In greenlets of eventlet.
    Eventlet,
}

impl WorkerClass {
    /// Returns the name of the library whose greenlets run requests.
    pub fn library(self) -> Option<&'static str> {
        match self {
            WorkerClass::Threads => None,
            WorkerClass::Gevent => Some("gevent"),
            WorkerClass::Eventlet => Some("eventlet"),
        }
    }
}

/// Files, CGI scripts and hosts beside the application.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteConfig {
    pub(crate) static_files: Vec<(String, PathBuf)>,
    #[cfg(unix)]
    pub(crate) cgi: Vec<(String, PathBuf)>,
    pub(crate) spa: bool,
    pub(crate) no_listing: bool,
    pub(crate) cache: Option<Duration>,
    pub(crate) vhost: Vec<(String, String)>,
    pub(crate) allowed_host: Vec<String>,
    /// Names of files that no folder publishes, because they configure the server.
    pub(crate) withheld: Vec<String>,
}

/// HTTPS.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsConfig {
    pub(crate) adhoc: bool,
    pub(crate) cert: Vec<PathBuf>,
    pub(crate) key: Vec<PathBuf>,
    pub(crate) http_and_https: bool,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) client_optional: bool,
    pub(crate) min_version: crate::TlsVersion,
    pub(crate) ciphers: Option<String>,
}

/// Reloading and workers.
#[cfg(all(unix, feature = "reload"))]
#[derive(Clone, Debug)]
pub(crate) struct ReloadConfig {
    pub(crate) reload: bool,
    pub(crate) reloader_type: ReloaderType,
    pub(crate) reloader_interval: Duration,
    pub(crate) extra_files: Vec<PathBuf>,
    pub(crate) exclude_patterns: Vec<String>,
    pub(crate) error_page: bool,
    pub(crate) spare: bool,
    pub(crate) workers: u16,
    pub(crate) watch_reported: bool,
}

#[cfg(all(unix, feature = "reload"))]
impl Default for ReloadConfig {
    fn default() -> ReloadConfig {
        ReloadConfig {
            reload: false,
            reloader_type: ReloaderType::Auto,
            reloader_interval: Duration::from_secs(1),
            extra_files: Vec::new(),
            exclude_patterns: Vec::new(),
            error_page: false,
            spare: false,
            workers: 1,
            watch_reported: false,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let settings = Settings::default();
        Config {
            app: None,
            program: Vec::new(),
            bind: Vec::new(),
            port: None,
            backlog: settings.backlog,
            #[cfg(unix)]
            unix_mode: None,
            processes: None,
            threads: None,
            single: false,
            body_mode: BodyMode::Collect,
            body_directory: None,
            live: false,
            limits: settings.limits,
            timeouts: settings.timeouts,
            log: LogConfig::default(),
            process: ProcessConfig::default(),
            root_path: None,
            health: None,
            python: PythonConfig::default(),
            site: SiteConfig::default(),
            proxies: settings.proxies,
            debug: false,
            debug_anywhere: false,
            #[cfg(feature = "tls")]
            tls: TlsConfig::default(),
            #[cfg(all(unix, feature = "reload"))]
            reload: ReloadConfig::default(),
        }
    }
}
