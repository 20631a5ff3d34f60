//! Making sure that SIGCHLD is not ignored in a process that waits for children.
//!
//! If SIGCHLD is ignored, the system reaps children itself and their exit status is lost (`wait(2)`, NOTES). A process
//! inherits this setting from its parent, for example from a shell with `trap '' CHLD`.

use std::io;
use std::sync::{Arc, Once};

use signal_hook::consts::SIGCHLD;

/// Installs an empty handler for SIGCHLD if the signal is ignored; to be called before a child is started. Programs
/// that are executed from then on have the system's default again.
pub(crate) fn ensure_children_are_reapable() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        if is_ignored(std::fs::read_to_string("/proc/self/status").ok().as_deref()) {
            result = signal_hook::flag::register(SIGCHLD, Arc::default()).map(drop);
        }
    });
    result
}

/// Whether SIGCHLD is ignored according to the process status on Linux; true if that is unknown.
fn is_ignored(status: Option<&str>) -> bool {
    let mask = status.and_then(|status| status.lines().find_map(|line| line.strip_prefix("SigIgn:")));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask >> (SIGCHLD - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_sigchld_is_read_from_the_signal_mask() {
        assert!(is_ignored(Some("Name:\tsh\nSigIgn:\t0000000000010000\nSigCgt:\t0000000000000000\n")));
        assert!(!is_ignored(Some("Name:\tsh\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000010000\n")));
        assert!(is_ignored(Some("Name:\tsh\n")) && is_ignored(None));
    }
}
