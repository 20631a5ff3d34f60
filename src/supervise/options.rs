//! How to watch, and what clients get while the newest code does not run.

use std::fmt;
use std::str::FromStr;

use amboss_reload::Backend;

/// How changes are detected (Werkzeug's `reloader_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloaderType {
    /// By the system's events where they work, else by scans. The log says which of them is used, and why.
    #[default]
    Auto,
    /// By scanning the files at an interval.
    Stat,
    /// By the system's events. An error where the system has none.
    Notify,
}

impl From<ReloaderType> for Backend {
    fn from(kind: ReloaderType) -> Backend {
        match kind {
            ReloaderType::Auto => Backend::Auto,
            ReloaderType::Stat => Backend::Stat,
            ReloaderType::Notify => Backend::Notify,
        }
    }
}

impl FromStr for ReloaderType {
    type Err = String;

    /// Reads `auto`, `stat` or `notify`, and also Werkzeug's name for events, `watchdog`.
    fn from_str(text: &str) -> Result<ReloaderType, String> {
        match text {
            "auto" => Ok(ReloaderType::Auto),
            "stat" => Ok(ReloaderType::Stat),
            "notify" | "watchdog" => Ok(ReloaderType::Notify),
            _ => Err(format!("{text:?} is no way to watch files; choose auto, stat or notify")),
        }
    }
}

impl fmt::Display for ReloaderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Backend::from(*self).fmt(f)
    }
}

/// What clients get while the newest code can't be built, or does not start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLoadFailure {
    /// The responses of the old code. If no code has served yet, the error page.
    #[default]
    KeepServing,
    /// A page with the output of the compiler or of the program, until the code runs again.
    ErrorPage,
}
