//! SIGCHLD must not be ignored in a process that waits for children.
//!
//! Where it is ignored the system collects them itself, and how they ended is lost (`wait(2)`, NOTES). A program inherits
//! that from the one that started it, as from a shell with `trap '' CHLD`.

use std::io;
use std::sync::{Arc, Once};

use signal_hook::consts::SIGCHLD;

/// To be called before a child is started. Changes the process's SIGCHLD only if that is ignored: to a handler that does
/// nothing. What is executed from here on has the system's default again.
pub(crate) fn ensure_collectable() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        if is_ignored(std::fs::read_to_string("/proc/self/status").ok().as_deref()) {
            result = signal_hook::flag::register(SIGCHLD, Arc::default()).map(drop);
        }
    });
    result
}

/// Whether SIGCHLD is ignored, by what Linux says about the process. Where it can't be told, it may be.
fn is_ignored(status: Option<&str>) -> bool {
    let mask = status.and_then(|status| status.lines().find_map(|line| line.strip_prefix("SigIgn:")));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask >> (SIGCHLD - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_the_mask() {
        assert!(is_ignored(Some("Name:\tsh\nSigIgn:\t0000000000010000\nSigCgt:\t0000000000000000\n")));
        assert!(!is_ignored(Some("Name:\tsh\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000010000\n")));
        assert!(is_ignored(Some("Name:\tsh\n")) && is_ignored(None));
    }
}
