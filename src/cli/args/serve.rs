//! The flags of a server. Six groups have files of their own: `app`, `debug`, `proxies`, `site`, `tls` and `reload`.

#[cfg(all(unix, feature = "reload"))]
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::app::AppArgs;
use super::debug::DebugArgs;
use super::proxies::ProxyArgs;
#[cfg(all(unix, feature = "reload"))]
use super::reload::ReloadArgs;
use super::seconds;
use super::site::SiteArgs;
#[cfg(feature = "tls")]
use super::tls::TlsArgs;
use crate::Address;

/// The arguments of a server.
#[derive(Args, Debug)]
pub(in crate::cli) struct ServeArgs {
    /// Python application to serve: module:object, module:factory(), module:factory("text", n=1), or a module alone that
    /// defines `app` or `application`; the path of a .py file can stand for the module. Or a folder of files to serve,
    /// as a path that begins with ./, ../ or / [default: the built-in development application]
    #[arg(value_name = "APP")]
    pub(in crate::cli) target: Option<String>,

    /// Run this program instead, which serves on the sockets that AMBOSS_SERVER_FD or LISTEN_FDS passes to it
    #[cfg(all(unix, feature = "reload"))]
    #[arg(last = true, value_name = "PROGRAM")]
    pub(super) program: Vec<OsString>,

    /// Address to listen on: host:port, [::1]:port, localhost:port (IPv4 and IPv6), unix://path or fd://N; may be
    /// repeated
    #[arg(short, long, value_name = "ADDRESS")]
    pub(super) bind: Vec<Address>,

    /// Port on 127.0.0.1; 0 picks a free one [default: 5000, or the next free port]
    #[arg(short, long, conflicts_with = "bind")]
    pub(super) port: Option<u16>,

    /// Run each request in a process of its own, at most N at a time
    #[arg(long, group = "concurrency", value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(super) processes: Option<u16>,

    /// Maximum number of threads that run requests [default: 64; 16 for APP]
    #[arg(long, group = "concurrency", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) threads: Option<u16>,

    /// Run one request at a time
    #[arg(long, group = "concurrency")]
    pub(super) single: bool,

    /// How long running requests may take to finish when the server stops, before they are cut off
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::timeout)]
    pub(super) graceful_timeout: Duration,

    /// How long a complete request may wait for a thread before it is answered with 503; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds::timeout_or_zero)]
    pub(super) queue_timeout: Duration,

    /// When to call the application: once the request body is complete, or before, so that it reads the body as it
    /// arrives [default: collect]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) body_mode: Option<Bodies>,

    /// Directory for request bodies of more than 16 MiB until they are complete, in unnamed temporary files [default:
    /// TMPDIR, else /var/tmp]
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) body_directory: Option<PathBuf>,

    /// Reload open pages in the browser when the code has been replaced; also pages of a PROGRAM that calls run_simple
    #[arg(long)]
    pub(super) live: bool,

    /// Format of the access log [default: werkzeug]
    #[arg(long, value_enum)]
    pub(super) log_format: Option<Format>,

    /// Append the log to this file instead of writing it to stderr; USR1 reopens the file after it was moved
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,

    /// Colours in the log; auto: on a terminal, unless the environment says otherwise
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(super) color: Color,

    /// Print no banner and no access log; given twice, no errors either
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) quiet: u8,

    #[command(flatten)]
    pub(in crate::cli) app: AppArgs,

    #[command(flatten)]
    pub(in crate::cli) site: SiteArgs,

    #[command(flatten)]
    pub(super) proxies: ProxyArgs,

    #[command(flatten)]
    pub(super) debug: DebugArgs,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(super) tls: TlsArgs,

    #[cfg(all(unix, feature = "reload"))]
    #[command(flatten)]
    pub(super) reload: ReloadArgs,
}

impl ServeArgs {
    /// Switches on the flags that `--debug` stands for.
    pub(super) fn expand_debug(&mut self) {
        if !self.debug.is_on() {
            return;
        }
        self.live = true;
        #[cfg(all(unix, feature = "reload"))]
        self.reload.enable();
        #[cfg(not(all(unix, feature = "reload")))]
        say!(" * --debug does not reload code here: that needs Unix, and amboss with the feature reload.");
    }
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// Werkzeug's format, with size and duration
    Werkzeug,
    /// Common log format
    Common,
    /// Common log format with referrer and user agent
    Combined,
    /// One JSON object per line
    Json,
}

/// When the application is called.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Bodies {
    /// When the body is complete, so that a slow upload takes no thread
    Collect,
    /// When the head is complete; the application reads the body as it arrives
    Stream,
}

/// Whether the log is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}
