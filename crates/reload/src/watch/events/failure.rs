//! What an error of the `notify` crate means for the watch.

use std::io;

use notify::ErrorKind;

/// Why events do not work, in a sentence for people; `None` if the error concerns only one file, which is gone or
/// cannot be read.
pub(super) fn failure_reason(error: &notify::Error) -> Option<String> {
    let code = match &error.kind {
        ErrorKind::MaxFilesWatch => return Some(limit_reached("max_user_watches", "watched folders", 1_048_576)),
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => return None,
        ErrorKind::Io(io) => io,
        ErrorKind::Generic(_) | ErrorKind::InvalidConfig(_) => return Some(other_reason(error)),
    };
    // EMFILE has no constant in std; it is 24 on every Unix.
    match (code.kind(), code.raw_os_error()) {
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory, _) => None,
        (io::ErrorKind::Interrupted, _) => None,
        (_, Some(24)) => Some(limit_reached("max_user_instances", "watching programs", 1024)),
        _ => Some(other_reason(error)),
    }
}

/// The sentence for an error that cannot be explained any further.
pub(super) fn other_reason(error: &notify::Error) -> String {
    format!("The system reports no events: {error}.")
}

fn limit_reached(name: &str, of: &str, enough: u32) -> String {
    format!(
        "The system's limit of {of} is reached; raise it with `sudo sysctl fs.inotify.{name}={enough}`, and in \
         /etc/sysctl.conf to make it permanent."
    )
}
