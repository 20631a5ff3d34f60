//! Receiving signals while a supervisor runs.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{channel, Sender};
use std::thread::{Builder, JoinHandle};

use signal_hook::iterator::{Handle, Signals};

use super::input::Input;
use crate::process::HandledSignals;

/// Sends signals to the supervisor's thread until it is dropped. Then they have the system's default effect again.
pub(super) struct SignalForwarder {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    _handled: HandledSignals,
}

impl SignalForwarder {
    pub(super) fn start(inputs: Sender<Input>) -> io::Result<SignalForwarder> {
        let (handled, (handle, thread)) = HandledSignals::take_over(|signals| forward(signals, inputs))?;
        Ok(SignalForwarder { handle, thread: Some(thread), _handled: handled })
    }
}

/// Starts the forwarding thread, and returns when it runs, so that no process is forked while it starts.
fn forward(mut signals: Signals, inputs: Sender<Input>) -> io::Result<(Handle, JoinHandle<()>)> {
    let handle = signals.handle();
    let (running_sender, running) = channel();
    let thread = Builder::new().name("signals".into()).spawn(move || {
        let _ = running_sender.send(());
        for signal in signals.forever() {
            if inputs.send(Input::Signal(signal)).is_err() {
                break;
            }
        }
    })?;
    let _ = running.recv();
    Ok((handle, thread))
}

impl Drop for SignalForwarder {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Which of stdin, stdout and stderr are terminals. This tells a SIGHUP of a closed terminal from one that a user
/// sends.
pub(super) struct Terminals([bool; 3]);

impl Terminals {
    pub(super) fn detect() -> Terminals {
        Terminals([io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()])
    }

    /// Whether one of them was closed meanwhile; isatty(3) then returns false for it.
    pub(super) fn is_closed(&self) -> bool {
        let Terminals(now) = Terminals::detect();
        self.0.iter().zip(now).any(|(&was, is)| was && !is)
    }
}
