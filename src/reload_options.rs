//! The options of reloading: how changes are detected, and what clients get while the newest code can't be loaded.

use std::fmt;
use std::str::FromStr;

use amboss_reload::Backend;

/// The way in which file changes are detected (Werkzeug's `reloader_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloaderType {
    /// File system events where they work, else scans. The log says which of the two is used, and why.
    #[default]
    Auto,
    /// Scans of the files at a fixed interval.
    Stat,
    /// File system events. Where they are not available, the supervisor does not start.
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

    /// Parses `auto`, `stat`, `notify`, or Werkzeug's name for `notify`, `watchdog`.
    fn from_str(text: &str) -> Result<ReloaderType, String> {
        match text {
            "auto" => Ok(ReloaderType::Auto),
            "stat" => Ok(ReloaderType::Stat),
            "notify" | "watchdog" => Ok(ReloaderType::Notify),
            _ => Err(format!("{text:?} is not a reloader type; choose auto, stat or notify")),
        }
    }
}

impl fmt::Display for ReloaderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Backend::from(*self).fmt(f)
    }
}

/// What clients get while the newest code can't be built or does not start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLoadFailure {
    /// The responses of the old code. The error page, if no code has served yet.
    #[default]
    KeepServing,
    /// An error page with the output of the compiler or of the program, until the code runs again.
    ErrorPage,
}
