//! The effects of the supervisor's signals: in this process while a supervisor runs and afterwards, and in its forked
//! children.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use crate::sync::lock;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;

const HANDLED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1];

/// For each signal, whether it has the system's default effect.
type DefaultFlags = Option<[Arc<AtomicBool>; HANDLED.len()]>;

/// Handlers cannot be removed; instead each has the system's default effect while its flag is set. `None` until the
/// handlers are installed. Locked while a supervisor's signal thread starts, so that no process is forked then.
static DEFAULT_FLAGS: Mutex<DefaultFlags> = Mutex::new(None);

/// The number of supervisors that handle signals.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

fn lock_flags() -> MutexGuard<'static, DefaultFlags> {
    lock(&DEFAULT_FLAGS)
}

fn set_default(flags: &DefaultFlags, value: bool) {
    flags.iter().flatten().for_each(|flag| flag.store(value, Ordering::SeqCst));
}

/// Suppresses the default effects of the supervisor's signals. Dropping the value restores these effects.
#[derive(Debug)]
pub(crate) struct HandledSignals(());

impl HandledSignals {
    /// Takes over the signals, and passes them to `start`, during which no process is forked.
    pub(crate) fn take_over<T>(start: impl FnOnce(Signals) -> io::Result<T>) -> io::Result<(HandledSignals, T)> {
        let mut flags = lock_flags();
        if flags.is_none() {
            let new = HANDLED.map(|_| Arc::new(AtomicBool::new(false)));
            for (signal, flag) in HANDLED.iter().zip(&new) {
                register_conditional_default(*signal, flag.clone())?;
            }
            *flags = Some(new);
        }
        let signals = Signals::new(HANDLED)?;
        ACTIVE.fetch_add(1, Ordering::SeqCst);
        set_default(&flags, false);
        let started = start(signals);
        if started.is_err() {
            HandledSignals::release(&flags);
        }
        Ok((HandledSignals(()), started?))
    }

    fn release(flags: &DefaultFlags) {
        if ACTIVE.fetch_sub(1, Ordering::SeqCst) == 1 {
            set_default(flags, true);
        }
    }
}

impl Drop for HandledSignals {
    fn drop(&mut self) {
        HandledSignals::release(&lock_flags());
    }
}

/// Waits until no handler runs in any thread; to be called before a fork. Otherwise a handler might be running in
/// another thread at the moment of the fork. That thread does not exist in the child, so a change of handlers there
/// would wait for it forever.
pub(super) fn wait_for_running_handlers() {
    if lock_flags().is_none() {
        return;
    }
    // Registering a handler waits for the running ones before it returns.
    if let Ok(id) = signal_hook::flag::register(SIGINT, Arc::default()) {
        signal_hook::low_level::unregister(id);
    }
}

/// Restores the default effect of the supervisor's signals in a forked child, where no thread handles them. SIGINT and
/// SIGUSR1 have no effect there: the supervisor acts on them, and if the application sets handlers of its own, the
/// default effect must not end the process first.
///
/// The pipe of the supervisor's signal thread stays open in the child. The handlers write to it, and would write to any
/// file that got its number; only that thread reads from it.
pub(super) fn restore_default_signals() -> io::Result<()> {
    // No other thread exists here. If the lock was held at the moment of the fork, it is never released.
    let flags = match DEFAULT_FLAGS.try_lock() {
        Ok(flags) => flags,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(io::Error::other("a supervisor began or ended during the fork")),
    };
    for (signal, flag) in HANDLED.iter().zip(flags.iter().flatten()) {
        flag.store(!matches!(*signal, SIGINT | SIGUSR1), Ordering::SeqCst);
    }
    if flags.is_none() {
        // Without installed handlers SIGINT would end the process.
        ignore_interrupts()?;
    }
    Ok(())
}

/// Keeps SIGINT (CTRL+C) from ending this process. A terminal sends it to the supervisor as well, which tells its
/// children to finish the running requests. Handlers that the program has, or sets later, are still called.
///
/// # Errors
/// The system refuses the handler.
pub fn ignore_interrupts() -> io::Result<()> {
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false))).map(drop)
}
