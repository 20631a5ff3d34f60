//! Ending a child when its supervisor dies.

use std::io;

use rustix::process::Pid;

/// On Linux, makes the death of this process's parent end this process, by SIGKILL if `kill` is set, otherwise by
/// SIGTERM.
///
/// # Errors
/// The parent is not (or no longer) the supervisor.
pub(super) fn die_with_parent(supervisor: Option<Pid>, kill: bool) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{set_parent_process_death_signal, Signal};
        set_parent_process_death_signal(Some(if kill { Signal::KILL } else { Signal::TERM }))?;
    }
    // A parent that died before this request sends no signal.
    if supervisor.is_some() && supervisor != rustix::process::getppid() {
        return Err(io::Error::other("the supervisor has ended"));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = kill;
    Ok(())
}
