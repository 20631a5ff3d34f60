//! The flags of reloading and workers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::seconds;
use crate::{LaunchPlan, OnLoadFailure, ReloaderType, RunOptions};

/// The flags of reloading and workers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Reloading and workers")]
pub(super) struct ReloadArgs {
    /// Restart with the new code whenever a file changes, without losing a request
    #[arg(short, long, group = "reloading")]
    reload: bool,

    /// How to detect changes: auto, stat or notify
    #[arg(long, value_name = "TYPE", default_value_t = ReloaderType::Auto, requires = "reloading")]
    reloader_type: ReloaderType,

    /// Seconds between two scans of the stat reloader
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds::interval, requires = "reloading")]
    reloader_interval: Duration,

    /// Watch this file, directory or glob as well; may be repeated
    #[arg(long, value_name = "PATH", requires = "reloading")]
    extra_files: Vec<PathBuf>,

    /// Ignore changes to paths that match this pattern, such as "*/static/*"; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "reloading")]
    exclude_patterns: Vec<String>,

    /// While the newest code is broken, answer every request with the reason [default: the old code keeps serving, if
    /// there is any]
    #[arg(long, requires = "reloading")]
    error_page: bool,

    /// For an application in Python: keep an interpreter ready that has imported the libraries with which the
    /// application begins. It makes a reload faster, and takes the memory of these libraries once more
    #[arg(long, requires = "reloading")]
    spare: bool,

    /// Number of worker processes; a worker that dies is replaced
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// Watch the files that PROGRAM reports, and --extra-files, instead of the current directory
    #[arg(long, hide = true, requires_all = ["reload", "program"])]
    watch_reported: bool,
}

impl ReloadArgs {
    /// Switches `--reload` on.
    pub(super) fn enable(&mut self) {
        self.reload = true;
    }

    pub(super) fn is_reloading(&self) -> bool {
        self.reload
    }

    pub(super) fn keeps_spare(&self) -> bool {
        self.spare
    }

    /// Whether PROGRAM reports its files. Such a program uses amboss, and serves with the certificate of these flags.
    pub(super) fn is_watching_reported(&self) -> bool {
        self.watch_reported
    }

    /// Copies the flags into the server's options.
    pub(super) fn apply(&self, options: &mut RunOptions) {
        options.use_reloader = self.reload;
        options.reloader_type = self.reloader_type;
        options.reloader_interval = Some(self.reloader_interval);
        options.extra_files.clone_from(&self.extra_files);
        options.exclude_patterns.extend(self.exclude_patterns.iter().cloned());
        options.on_load_failure = if self.error_page { OnLoadFailure::ErrorPage } else { OnLoadFailure::KeepServing };
        options.workers = self.workers.into();
    }

    /// Returns what the flags say about starting workers.
    pub(super) fn plan(&self) -> LaunchPlan {
        LaunchPlan { watch_reported: self.watch_reported, spare: self.spare, ..LaunchPlan::default() }
    }
}
