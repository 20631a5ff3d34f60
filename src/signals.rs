//! Signal handling of the process that serves: INT (CTRL+C) and TERM stop it, USR1 reopens its log, HUP reopens its log
//! and reloads its certificate.
//!
//! With a supervisor, only the supervisor handles CTRL+C: a terminal sends the signal to both processes, and one of
//! them has to decide how to stop. The process that serves ignores CTRL+C and prints nothing. HUP makes it ask the
//! supervisor for a replacement; TERM stops it gracefully, and the supervisor replaces it.

use std::error::Error;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use amboss::cli::Signals;
use amboss::{ShutdownHandle, Worker};

/// Installs the handlers. The first CTRL+C or TERM stops the server gracefully, the second at once.
pub(crate) fn install(
    handle: ShutdownHandle,
    worker: &Worker,
    Signals { quiet, reopen_logs, hang_up }: Signals,
) -> Result<(), Box<dyn Error>> {
    let supervised = worker.is_supervised();
    #[cfg(unix)]
    let on_hang_up = (handle.clone(), worker.clone());
    let stop = Mutex::new(StopRequests { handle, worker: worker.clone(), first: None, quiet: quiet || supervised });
    let on_stop = move || stop.lock().unwrap_or_else(PoisonError::into_inner).receive();
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1};
        // Installed even without a log file, because the default action of USR1 ends the process, and a log rotation
        // may signal all services.
        on(&[SIGUSR1], move || reopen_logs.iter().for_each(|reopen| reopen()))?;
        let (handle, worker) = on_hang_up;
        if supervised {
            on(&[SIGHUP], move || worker.request_replacement())?;
            return Ok(on(&[SIGTERM], on_stop)?);
        }
        on(&[SIGHUP], move || {
            if !hang_up.received() {
                handle.shutdown();
            }
        })?;
        let on_stop = std::sync::Arc::new(on_stop);
        let on_interrupt = on_stop.clone();
        on(&[SIGTERM], move || on_stop())?;
        Ok(ctrlc::set_handler(move || on_interrupt())?)
    }
    #[cfg(not(unix))]
    {
        drop((reopen_logs, hang_up));
        Ok(ctrlc::set_handler(on_stop)?)
    }
}

/// Calls a function for each of these signals, in a dedicated thread.
#[cfg(unix)]
fn on(signals: &[i32], act: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    let run = move || signals.forever().for_each(|_| act());
    std::thread::Builder::new().name("signals".into()).spawn(run).map(drop)
}

/// The signals received so far that ask the server to stop.
struct StopRequests {
    handle: ShutdownHandle,
    /// The link to the supervisor. If there is one, the supervisor decides when to stop at once.
    worker: Worker,
    /// When the first signal arrived.
    first: Option<Instant>,
    quiet: bool,
}

impl StopRequests {
    fn receive(&mut self) {
        /// Signals within this time of the first one count as the same signal: a parent process or a request process
        /// may forward the signal that the terminal also sends to this process.
        const SAME_SIGNAL: Duration = Duration::from_millis(300);
        /// The exit code that a shell reports for a process ended by INT.
        const STOPPED_BY_SIGINT: i32 = 130;
        match self.first {
            None => {
                self.first = Some(Instant::now());
                if !self.quiet {
                    let _ = writeln!(
                        std::io::stderr(),
                        "Stopping when the running requests are done; press CTRL+C again to stop at once."
                    );
                }
                self.worker.announce_exit();
                self.handle.shutdown();
            }
            Some(first) if first.elapsed() > SAME_SIGNAL && !self.worker.is_supervised() => {
                amboss::cli::before_exit();
                std::process::exit(STOPPED_BY_SIGINT)
            }
            Some(_) => {}
        }
    }
}
