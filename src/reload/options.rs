//! How to watch, and what to do with code that can't start.

use std::fmt;
use std::str::FromStr;

use amboss_reload::Backend;

/// How changes are noticed (Werkzeug's `reloader_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloaderType {
    /// By the system's events where they work, by looking where they don't; which of them, and why, is said aloud.
    #[default]
    Auto,
    /// By looking at the files again and again.
    Stat,
    /// By the system's events; an error where they can't be had.
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

    /// `auto`, `stat` or `notify`; Werkzeug's name for events, `watchdog`, is understood.
    fn from_str(text: &str) -> Result<ReloaderType, String> {
        match text {
            "auto" => Ok(ReloaderType::Auto),
            "stat" => Ok(ReloaderType::Stat),
            "notify" | "watchdog" => Ok(ReloaderType::Notify),
            _ => Err(format!("{text:?} is no way to watch files; choose auto, stat or notify")),
        }
    }
}

/// What clients get while the newest code can't be built or doesn't start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokenSave {
    /// The old code's answers. Where nothing has served yet, the page.
    #[default]
    KeepServing,
    /// A page with what the compiler or the program had to say, until a save mends it.
    ErrorPage,
}

impl fmt::Display for ReloaderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Backend::from(*self).fmt(f)
    }
}
