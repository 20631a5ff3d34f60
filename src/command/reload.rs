//! The flags of reloading and workers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::{BrokenSave, ReloaderType, RunOptions};

/// The hidden subcommand that becomes another program, as the supervisor's child.
pub(super) const SHIM: &str = "__child";

#[derive(Args, Debug)]
#[command(next_help_heading = "Reloading and workers")]
pub(super) struct ReloadArgs {
    /// Serve the newest code: replace the program whenever a file changes, without losing a request
    #[arg(short, long)]
    reload: bool,

    /// How to notice changes: auto, stat or notify
    #[arg(long, value_name = "TYPE", default_value_t = ReloaderType::Auto, requires = "reload")]
    reloader_type: ReloaderType,

    /// Seconds between two looks of the stat reloader
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, requires = "reload")]
    reloader_interval: f64,

    /// Also watch these: a file, a folder or a glob; may be repeated
    #[arg(long, value_name = "PATH", requires = "reload")]
    extra_files: Vec<PathBuf>,

    /// Never react to these: a pattern such as "*/static/*"; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "reload")]
    exclude_patterns: Vec<String>,

    /// While the newest code is broken, show why to every request [default: the old code serves on, if there is any]
    #[arg(long, requires = "reload")]
    error_page: bool,

    /// So many processes beside each other; replaced when they die
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// Watch what PROGRAM reports, and --extra-files, instead of this folder
    #[arg(long, hide = true, requires = "reload")]
    watch_reported: bool,

    /// The scheme of PROGRAM's URLs, when it speaks TLS by itself
    #[arg(long, hide = true, value_name = "SCHEME", value_enum)]
    url_scheme: Option<Scheme>,

    /// The fingerprint of its certificate
    #[arg(long, hide = true, value_name = "TEXT")]
    fingerprint: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scheme {
    Http,
    Https,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 0.01 to 3600".into()),
    }
}

impl ReloadArgs {
    pub(super) fn is_reloading(&self) -> bool {
        self.reload
    }

    /// Whatever PROGRAM is, it knows of amboss, and its certificate is amboss's as well.
    pub(super) fn is_watching_reported(&self) -> bool {
        self.watch_reported
    }

    /// A flag that was given and says something about a PROGRAM.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.watch_reported, "--watch-reported"),
            (self.url_scheme.is_some(), "--url-scheme"),
            (self.fingerprint.is_some(), "--fingerprint"),
        ];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    pub(super) fn apply(&self, options: &mut RunOptions) {
        options.use_reloader = self.reload;
        options.reloader_type = self.reloader_type;
        options.reloader_interval = Some(Duration::from_secs_f64(self.reloader_interval));
        options.extra_files.clone_from(&self.extra_files);
        options.exclude_patterns.extend(self.exclude_patterns.iter().cloned());
        options.broken_save = if self.error_page { BrokenSave::ErrorPage } else { BrokenSave::KeepServing };
        options.workers = self.workers.into();
        options.watch_reported = self.watch_reported;
        options.program_scheme = self.url_scheme.map(|scheme| match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        });
        options.program_fingerprint.clone_from(&self.fingerprint);
    }
}
