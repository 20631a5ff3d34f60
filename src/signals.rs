//! What signals do to a process that serves: CTRL+C (INT) and TERM stop it, USR1 reopens its log.
//!
//! Under a supervisor CTRL+C is the supervisor's affair: a terminal sends it to both, and one of them has to say how the
//! end is to be.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use amboss::ShutdownHandle;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// Called to reopen the log.
type ReopenLogs = Arc<dyn Fn() + Send + Sync>;

/// Does from now on what signals ask for: the first CTRL+C or TERM stops gracefully, the second at once.
pub(crate) fn follow(handle: ShutdownHandle, reopen_logs: Option<ReopenLogs>, quiet: bool) -> io::Result<()> {
    let supervised = is_supervised();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if reopen_logs.is_some() {
        // Without a log file it has the system's usual effect.
        signals.add_signal(SIGUSR1)?;
    }
    let mut stop = Stop { handle, since: None, quiet: quiet || supervised };
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => reopen_logs.iter().for_each(|reopen| reopen()),
                SIGINT if supervised => {}
                _ => stop.asked(),
            }
        }
    })?;
    Ok(())
}

fn is_supervised() -> bool {
    #[cfg(feature = "reload")]
    return amboss::is_running_from_reloader();
    #[cfg(not(feature = "reload"))]
    false
}

struct Stop {
    handle: ShutdownHandle,
    since: Option<Instant>,
    quiet: bool,
}

impl Stop {
    fn asked(&mut self) {
        /// What comes within this time is one signal: whoever runs this process may pass on what the terminal sends.
        const ONE: Duration = Duration::from_millis(300);
        const STOPPED_BY_SIGINT: i32 = 130;
        match self.since {
            None => {
                self.since = Some(Instant::now());
                if !self.quiet {
                    eprintln!("Stopping when the running requests are done; press CTRL+C again to stop at once.");
                }
                self.handle.shutdown();
            }
            Some(since) if since.elapsed() > ONE => std::process::exit(STOPPED_BY_SIGINT),
            Some(_) => {}
        }
    }
}
