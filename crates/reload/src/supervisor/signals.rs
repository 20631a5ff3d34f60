//! Signals, as events, for as long as a supervisor runs.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::{Handle, Signals};

use super::Event;

const OURS: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1];

/// A handler can't be taken away again; instead it does what the system would have done while nobody listens.
static IDLE: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);
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
            let flag = Arc::new(AtomicBool::new(false));
            for signal in OURS {
                register_conditional_default(signal, flag.clone())?;
            }
            *idle = Some(flag);
        }
        let mut signals = Signals::new(OURS)?;
        LISTENING.fetch_add(1, Ordering::SeqCst);
        if let Some(idle) = &*idle {
            idle.store(false, Ordering::SeqCst);
        }
        let handle = signals.handle();
        let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if events.send(Event::Signal(signal)).is_err() {
                    break;
                }
            }
        });
        // Dropped also when there is no thread: the count is right again.
        let mut listening = Listening { handle, thread: None };
        listening.thread = Some(thread?);
        Ok(listening)
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
            if let Some(idle) = &*idle {
                idle.store(true, Ordering::SeqCst);
            }
        }
    }
}
