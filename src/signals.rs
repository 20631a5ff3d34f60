//! What signals do to a process that serves: CTRL+C (INT) and TERM stop it, USR1 reopens its log, HUP reopens its log
//! and reads its certificate again.
//!
//! Under a supervisor the end is the supervisor's affair: a terminal sends CTRL+C to both, and one of them has to say how
//! it is to be. There CTRL+C does nothing and nothing is said; HUP asks for a successor, TERM stops gracefully and
//! asks for one.

use std::error::Error;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use amboss::command::Signals;
use amboss::{ShutdownHandle, Worker};

/// Does from now on what signals ask for: the first CTRL+C or TERM stops gracefully, the second at once.
pub(crate) fn follow(
    handle: ShutdownHandle,
    worker: &Worker,
    Signals { quiet, reopen_logs, hang_up }: Signals,
) -> Result<(), Box<dyn Error>> {
    let supervised = worker.is_supervised();
    #[cfg(unix)]
    let on_hang_up = (handle.clone(), worker.clone());
    let stop = Mutex::new(Stop { handle, worker: worker.clone(), since: None, quiet: quiet || supervised });
    let asked = move || stop.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).asked();
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1};
        // Also without a log file: who rotates the logs of all services must not end this one.
        on(&[SIGUSR1], move || reopen_logs.iter().for_each(|reopen| reopen()))?;
        let (handle, worker) = on_hang_up;
        if supervised {
            on(&[SIGHUP], move || worker.ask_to_be_replaced())?;
            return Ok(on(&[SIGTERM], asked)?);
        }
        on(&[SIGHUP], move || {
            if !hang_up.received() {
                handle.shutdown();
            }
        })?;
        let asked = std::sync::Arc::new(asked);
        let interrupted = asked.clone();
        on(&[SIGTERM], move || asked())?;
        Ok(ctrlc::set_handler(move || interrupted())?)
    }
    #[cfg(not(unix))]
    {
        drop((reopen_logs, hang_up));
        Ok(ctrlc::set_handler(asked)?)
    }
}

/// Calls a function for each of these signals, in a thread of its own.
#[cfg(unix)]
fn on(signals: &[i32], act: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    let follow = move || signals.forever().for_each(|_| act());
    std::thread::Builder::new().name("signals".into()).spawn(follow).map(drop)
}

struct Stop {
    handle: ShutdownHandle,
    /// Where it has a supervisor, that decides when it is enough.
    worker: Worker,
    since: Option<Instant>,
    quiet: bool,
}

impl Stop {
    fn asked(&mut self) {
        /// What comes within this time is one signal: whoever runs this process may pass on what the terminal sends, and
        /// the processes of running requests report it here, too.
        const ONE: Duration = Duration::from_millis(300);
        const STOPPED_BY_SIGINT: i32 = 130;
        match self.since {
            None => {
                self.since = Some(Instant::now());
                if !self.quiet {
                    let _ = writeln!(
                        std::io::stderr(),
                        "Stopping when the running requests are done; press CTRL+C again to stop at once."
                    );
                }
                self.worker.leave();
                self.handle.shutdown();
            }
            Some(since) if since.elapsed() > ONE && !self.worker.is_supervised() => {
                std::process::exit(STOPPED_BY_SIGINT)
            }
            Some(_) => {}
        }
    }
}
