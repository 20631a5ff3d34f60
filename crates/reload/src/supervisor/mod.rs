//! The supervisor: holds the listening sockets and runs a program on them, in one worker process or several.
//!
//! The supervisor starts the replacement first. When the replacement reports that it is ready, the supervisor tells the
//! old worker to drain: it finishes its running requests and hands its idle connections back, and these are sent on to
//! the new worker, so no client notices. If the replacement cannot start, the old worker keeps serving. A worker may
//! also ask to be replaced; it serves until its successor is ready.
//!
//! ```text
//! signals, control sockets, exits, handles ──▶ Input ──▶ Supervisor::run
//!                                                          │  ▲
//!                            SupervisorState: the rules ◀──┘  └── next deadline
//!                                    │ ProcessControl
//!                                    ▼
//!                            Processes ──▶ Reporter ──▶ EventHandler
//! ```

mod backoff;
mod events;
mod fd_registry;
mod handover;
mod input;
mod options;
mod processes;
mod reporter;
mod semaphore;
mod signals;
mod spare;
mod state;
mod thread_registry;
mod worker_threads;

pub use events::{EventHandler, WorkerDeath, WorkerFailure};
pub use options::{Protocol, SupervisorOptions};

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1};

use crate::process::{ControlMessage, Program};
use handover::Handover;
use input::{Command, Input};
use processes::Processes;
use signals::{SignalForwarder, Terminals};
use state::SupervisorState;

/// The exit code after SIGQUIT, as shells report it.
const EXIT_CODE_AFTER_QUIT: i32 = 131;

/// Runs a program as its worker processes.
///
/// ```no_run
/// use amboss_reload::{Program, Supervisor, SupervisorOptions};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:5000")?;
/// let options = SupervisorOptions::default();
/// let supervisor = Supervisor::new(Program::new("./app"), vec![listener.into()], options, Box::new(()));
/// let handle = supervisor.handle();
/// // In another thread, whenever there is new code: handle.replace(None);
/// std::process::exit(supervisor.run());
/// # #[allow(unreachable_code)] Ok::<(), std::io::Error>(())
/// ```
///
/// | signal | effect |
/// |---|---|
/// | HUP | the workers are replaced one by one; if the signal comes from a closed terminal, the same as TERM |
/// | TTIN, TTOU | one more worker, one less (at least one remains) |
/// | TERM, INT | stop gracefully; a second INT stops at once, with exit code 130 |
/// | QUIT | stop at once, with exit code 131 |
/// | USR1 | the workers reopen their log files |
///
/// | a worker's exit code | effect |
/// |---|---|
/// | 3 | the worker is started again at once |
/// | 0, when it was ready and not told to stop | the application has ended: the other workers stop, exit code 0 |
/// | [`SupervisorOptions::fatal_exit_code`], before any worker was ready | the supervisor exits with the same code |
/// | any other, or a signal | the worker is started again, with growing delays |
pub struct Supervisor {
    state: SupervisorState,
    processes: Processes,
    handover: Handover,
    handle_signals: bool,
    signal_forwarder: Option<SignalForwarder>,
    terminals: Terminals,
    sender: Sender<Input>,
    receiver: Receiver<Input>,
}

/// Sends commands to a supervisor from any thread. Commands after its end have no effect.
#[derive(Clone)]
pub struct SupervisorHandle {
    sender: Sender<Input>,
}

impl Supervisor {
    /// Creates a supervisor for `program` on listening sockets. Nothing is started before [`run`](Supervisor::run).
    pub fn new(
        program: Program,
        listeners: Vec<OwnedFd>,
        options: SupervisorOptions,
        handler: Box<dyn EventHandler>,
    ) -> Supervisor {
        let (sender, receiver) = channel();
        Supervisor {
            state: SupervisorState::new(program, &options),
            handover: Handover::new(options.max_held_connections),
            handle_signals: options.handle_signals,
            signal_forwarder: None,
            terminals: Terminals::detect(),
            processes: Processes::new(listeners, options, handler, sender.clone()),
            sender,
            receiver,
        }
    }

    /// A handle for other threads. Commands that are sent before [`run`](Supervisor::run) are executed first.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle { sender: self.sender.clone() }
    }

    /// Starts to record signals. Without this call, [`run`](Supervisor::run) starts the recording. Call this before
    /// another program learns this process's id and may send it a signal.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub fn listen_to_signals(&mut self) -> io::Result<()> {
        if self.handle_signals && self.signal_forwarder.is_none() {
            self.signal_forwarder = Some(SignalForwarder::start(self.sender.clone())?);
        }
        Ok(())
    }

    /// Runs until it is told to stop, or the application ends. No worker is left when it returns.
    ///
    /// Returns the exit code for this process: 0 after a graceful stop, 130 or 131 after an immediate stop, 1 if
    /// signals could not be handled, or [`SupervisorOptions::fatal_exit_code`].
    ///
    /// On Linux, the death of the thread that calls this ends the workers that were started by an
    /// [exec wrapper](Program::exec_wrapper).
    pub fn run(mut self) -> i32 {
        if let Err(error) = self.listen_to_signals() {
            self.processes.log(&format!("Signals can't be handled: {error}"));
            return 1;
        }
        while let Ok(input) = self.receiver.try_recv() {
            self.handle_input(input);
        }
        loop {
            self.state.tick(Instant::now(), &mut self.processes);
            self.forward_connections();
            if self.state.is_stopping() {
                self.processes.stop_listening();
                self.handover.close();
            }
            if let Some(exit_code) = self.state.exit_code() {
                return exit_code;
            }
            // Never disconnected, because `self.sender` is kept.
            let input = match self.state.next_deadline() {
                None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(when) => self.receiver.recv_timeout(when.saturating_duration_since(Instant::now())),
            };
            if let Ok(input) = input {
                self.handle_input(input);
            }
        }
    }

    fn forward_connections(&mut self) {
        let serving: Vec<(u64, u64)> = self.state.serving().collect();
        self.handover.forward(&serving, self.state.expects_worker(), &mut self.processes);
    }

    fn handle_input(&mut self, input: Input) {
        let now = Instant::now();
        let processes = &mut self.processes;
        match input {
            Input::Signal(signal) => self.handle_signal(signal, now),
            Input::Connection(id, connection) => {
                processes.message_received(id, connection.message());
                self.handover.take(connection);
            }
            Input::Message(id, message) => self.handle_message(id, message, now),
            Input::Exited(id) => {
                if let Some(status) = processes.reap(id) {
                    self.state.worker_exited(id, status, now, processes);
                }
                processes.remove(id);
            }
            Input::Command(Command::Replace(program)) => self.state.replace(program, now, processes),
            Input::Command(Command::RunFallback { program, instead_of }) => {
                self.state.run_fallback(program, instead_of, now, processes);
            }
            Input::Command(Command::Stop) => self.state.stop(0, now, processes),
        }
    }

    fn handle_message(&mut self, id: u64, message: ControlMessage, now: Instant) {
        self.processes.message_received(id, &message);
        match message {
            ControlMessage::Ready => self.state.worker_ready(id, now, &mut self.processes),
            ControlMessage::Leaving => self.state.worker_leaving(id, now),
            ControlMessage::Drained => self.state.worker_drained(id, now),
            ControlMessage::ReplaceMe => {
                self.state.worker_uses_protocol(id);
                self.state.request_successor(id);
            }
            ControlMessage::Files(files) => {
                self.state.worker_uses_protocol(id);
                self.processes.files(id, files);
            }
            // The other messages are for workers.
            _ => {}
        }
    }

    fn handle_signal(&mut self, signal: i32, now: Instant) {
        let processes = &mut self.processes;
        match signal {
            // The terminal is closed, so no one could stop the supervisor from there.
            SIGHUP if self.terminals.is_closed() => self.state.stop(0, now, processes),
            SIGHUP => self.state.replace(None, now, processes),
            SIGTERM => self.state.stop(0, now, processes),
            SIGINT => {
                if !self.state.is_stopping() {
                    processes.log("Stopping when the running requests are done; press CTRL+C again to stop at once.");
                }
                self.state.interrupt(now, processes);
            }
            SIGQUIT => self.state.kill_all(EXIT_CODE_AFTER_QUIT, now, processes),
            SIGUSR1 => self.state.reopen_logs(processes),
            SIGTTIN | SIGTTOU => {
                if signal == SIGTTIN {
                    self.state.add_worker();
                } else {
                    self.state.remove_worker();
                }
                processes.log(&format!("Workers: {}", self.state.worker_count()));
            }
            _ => {}
        }
    }
}

impl SupervisorHandle {
    /// Replaces the workers one by one: with workers of `program`, or, if it is `None`, with the newest version of the
    /// current program.
    ///
    /// A replacement that is still starting is abandoned.
    pub fn replace(&self, program: Option<Program>) {
        self.send(Command::Replace(program));
    }

    /// Replaces the workers by a fallback program, such as a page that shows why the real one cannot be built. The next
    /// [`replace`](SupervisorHandle::replace), with or without a program, ends the fallback, and so does SIGHUP.
    ///
    /// `instead_of` names the generation that has [failed](EventHandler::failed). The fallback is then not run if a
    /// newer generation is already replacing the workers.
    pub fn run_fallback(&self, program: Program, instead_of: Option<u64>) {
        self.send(Command::RunFallback { program, instead_of });
    }

    /// Stops gracefully: running requests finish within [`SupervisorOptions::drain_timeout`].
    pub fn stop(&self) {
        self.send(Command::Stop);
    }

    fn send(&self, command: Command) {
        // An error means that the supervisor has ended: a stop has nothing left to do, and a replacement comes too
        // late.
        let _ = self.sender.send(Input::Command(command));
    }
}
