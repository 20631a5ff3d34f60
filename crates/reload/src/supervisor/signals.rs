//! Signals, as events, for as long as a supervisor runs.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::JoinHandle;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::{Handle, Signals};

use super::Event;

const OURS: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1];

/// A handler can't be taken away again; instead it does what the system would have done while nobody listens. One flag for
/// each signal.
static IDLE: Mutex<Option<[Arc<AtomicBool>; OURS.len()]>> = Mutex::new(None);
static LISTENING: AtomicUsize = AtomicUsize::new(0);

/// Sends signals as events until it is dropped; then they have the system's usual effect again.
pub(super) struct Listening {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    pub(super) fn start(events: Sender<Event>) -> io::Result<Listening> {
        let mut idle = IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if idle.is_none() {
            let flags = OURS.map(|_| Arc::new(AtomicBool::new(false)));
            for (signal, flag) in OURS.iter().zip(&flags) {
                register_conditional_default(*signal, flag.clone())?;
            }
            *idle = Some(flags);
        }
        let mut signals = Signals::new(OURS)?;
        LISTENING.fetch_add(1, Ordering::SeqCst);
        idle.iter().flatten().for_each(|flag| flag.store(false, Ordering::SeqCst));
        let handle = signals.handle();
        let (begins, begun) = channel();
        let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
            let _ = begins.send(());
            for signal in signals.forever() {
                if events.send(Event::Signal(signal)).is_err() {
                    break;
                }
            }
        });
        // Dropped also when there is no thread: the count is right again.
        let mut listening = Listening { handle, thread: None };
        listening.thread = Some(thread?);
        // No process is copied while a thread begins.
        let _ = begun.recv();
        Ok(listening)
    }
}

/// The terminals among stdin, stdout and stderr, to tell a HUP that somebody sends from that of a closed terminal.
pub(super) struct Terminals([bool; 3]);

impl Terminals {
    pub(super) fn look() -> Terminals {
        Terminals([io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()])
    }

    /// Whether one of them was closed since: then isatty(3) denies that it is one.
    pub(super) fn are_gone(&self) -> bool {
        let Terminals(now) = Terminals::look();
        self.0.iter().zip(now).any(|(&was, is)| was && !is)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let idle = IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if LISTENING.fetch_sub(1, Ordering::SeqCst) == 1 {
            idle.iter().flatten().for_each(|flag| flag.store(true, Ordering::SeqCst));
        }
    }
}

/// Waits until no handler runs in any thread. In a copy of this process whoever changes handlers would wait for ever for
/// one that was running at the moment of the copy, in a thread that it doesn't have.
pub(crate) fn let_handlers_finish() {
    if IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_none() {
        // There are none.
        return;
    }
    // That is what registering does before it returns.
    if let Ok(id) = signal_hook::flag::register(SIGINT, Arc::default()) {
        signal_hook::low_level::unregister(id);
    }
}

/// In a copy of the supervisor's process nobody listens. CTRL+C and USR1 are the supervisor's affair there; who listens to
/// them all the same must not find that they end the process first.
///
/// The pipe of the thread that has listened stays open: handlers write to it, and would write to whatever takes its
/// number. Nobody but that thread is woken.
pub(crate) fn have_usual_signals() -> io::Result<()> {
    // Nobody else is here who could hold it; where it was held at the moment of the copy, nobody ever gives it back.
    let idle = match IDLE.try_lock() {
        Ok(idle) => idle,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(io::Error::other("a supervisor began or ended during the fork")),
    };
    for (signal, flag) in OURS.iter().zip(idle.iter().flatten()) {
        flag.store(!matches!(*signal, SIGINT | SIGUSR1), Ordering::SeqCst);
    }
    if idle.is_none() {
        // No handler is there that would keep CTRL+C from ending it.
        crate::inherited::leave_interrupts_to_the_supervisor()?;
    }
    Ok(())
}
