//! Holds the listening sockets, and runs a program on them: one child, or several.
//!
//! A replacement is started first; only when it says that it is ready, the old child is told to drain. It finishes what
//! it runs, and hands its idle connections back, which go to the new one: no client notices. When the replacement can't
//! start, the old child keeps serving.
//!
//! ```no_run
//! use amboss_reload::child::Program;
//! use amboss_reload::supervisor::{Options, Supervisor};
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:5000")?;
//! let supervisor = Supervisor::new(Program::new("./app"), vec![listener.into()], Options::default(), Box::new(()));
//! let handle = supervisor.handle();
//! // In another thread, whenever there is new code: handle.replace(None);
//! std::process::exit(supervisor.run().exit_code);
//! # #[allow(unreachable_code)] Ok::<(), std::io::Error>(())
//! ```
//!
//! A child may also ask to be replaced itself, whenever it has had enough (see [`control`](crate::control)); it serves
//! until its successor is ready.
//!
//! | signal | effect |
//! |---|---|
//! | HUP | the children are replaced, one by one; when it comes from a closed terminal, as TERM |
//! | TTIN, TTOU | one child more, one less (never none) |
//! | TERM, INT | stop gracefully; a second INT: at once, with exit code 130 |
//! | QUIT | stop at once, with exit code 131 |
//! | USR1 | the children reopen their logs |
//!
//! | a child's exit code | effect |
//! |---|---|
//! | 3 | started again at once |
//! | 0, when it was ready and not told to stop | the application has ended itself: the others stop, exit code 0 |
//! | the one of [`Options::give_up`], before any child was ready | everything ends with it |
//! | any other, or a signal | started again, later and later |

mod events;
mod handover;
mod machine;
mod options;
mod passing;
mod processes;
mod signals;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1};

pub use events::{Death, Events, Failure};
pub use options::{Options, Protocol};
pub(crate) use signals::{have_usual_signals, let_handlers_finish};

use crate::child::Program;
use crate::control::Message;
use handover::Handover;
use machine::Machine;
use passing::Passenger;
use processes::Processes;
use signals::{Listening, Terminals};

/// What the supervisor's one thread waits for.
enum Event {
    Signal(i32),
    /// A child has said something.
    Message(u64, Message),
    /// A child has handed a connection back.
    Connection(u64, Passenger),
    /// A child has ended, and everything that it said was heard.
    Exited(u64),
    Command(Command),
}

enum Command {
    Replace(Option<Program>),
    /// For a generation, if not for whatever there is.
    StandIn(Program, Option<u64>),
    Workers(usize),
    ReopenLogs,
    Stop,
}

/// Runs a program as its children.
pub struct Supervisor {
    machine: Machine,
    processes: Processes,
    handover: Handover,
    signals: bool,
    listening: Option<Listening>,
    terminals: Terminals,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

/// Tells a supervisor what to do, from any thread; what is told after its end is lost.
#[derive(Clone)]
pub struct SupervisorHandle {
    sender: Sender<Event>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// What the process should exit with: 0 stopped as asked, 130 and 131 stopped at once, 1 could not listen to signals,
    /// [`Options::give_up`] could not begin.
    pub exit_code: i32,
}

impl Supervisor {
    /// Prepares to run `program` on listening sockets; nothing is started before [`run`](Supervisor::run).
    pub fn new(program: Program, listeners: Vec<OwnedFd>, options: Options, events: Box<dyn Events>) -> Supervisor {
        let (sender, receiver) = channel();
        Supervisor {
            machine: Machine::new(program, &options),
            handover: Handover::new(options.keep_connections),
            signals: options.signals,
            listening: None,
            terminals: Terminals::look(),
            processes: Processes::new(listeners, options, events, sender.clone()),
            sender,
            receiver,
        }
    }

    /// For other threads. What they tell before [`run`](Supervisor::run) is done first.
    pub fn handle(&self) -> SupervisorHandle {
        SupervisorHandle { sender: self.sender.clone() }
    }

    /// Notes signals from now on, for [`run`](Supervisor::run), which begins to do so otherwise: before somebody is told
    /// that this process is there, and may send one.
    ///
    /// # Errors
    /// When the system takes no handler.
    pub fn listen_to_signals(&mut self) -> io::Result<()> {
        if self.signals && self.listening.is_none() {
            self.listening = Some(Listening::start(self.sender.clone())?);
        }
        Ok(())
    }

    /// Runs until it is told to stop, or the application ends itself. No child is left when it returns.
    ///
    /// On Linux the death of the thread that calls this ends the children that were started by a
    /// [shim](Program::shim).
    pub fn run(mut self) -> Outcome {
        if let Err(error) = self.listen_to_signals() {
            self.processes.say(&format!("Can't listen to signals: {error}"));
            return Outcome { exit_code: 1 };
        }
        while let Ok(event) = self.receiver.try_recv() {
            self.handle_event(event);
        }
        loop {
            self.machine.tick(Instant::now(), &mut self.processes);
            self.forward();
            if self.machine.is_stopping() {
                self.processes.stop_listening();
                self.handover.end();
            }
            if let Some(exit_code) = self.machine.outcome() {
                return Outcome { exit_code };
            }
            // Never disconnected: a sender is kept here.
            let event = match self.machine.next_deadline() {
                None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(when) => self.receiver.recv_timeout(when.saturating_duration_since(Instant::now())),
            };
            if let Ok(event) = event {
                self.handle_event(event);
            }
        }
    }

    fn forward(&mut self) {
        let serving: Vec<(u64, u64)> = self.machine.serving().collect();
        self.handover.forward(&serving, self.machine.expects_another(), &mut self.processes);
    }

    fn handle_event(&mut self, event: Event) {
        let now = Instant::now();
        let world = &mut self.processes;
        match event {
            Event::Signal(signal) => self.handle_signal(signal, now),
            Event::Connection(id, connection) => {
                world.heard(id, connection.message());
                self.handover.take(connection);
            }
            Event::Message(id, message) => {
                world.heard(id, &message);
                match message {
                    Message::Ready => self.machine.ready(id, now, world),
                    Message::Leaving => self.machine.leaves(id, now),
                    Message::Drained => self.machine.drained(id, now),
                    Message::ReplaceMe => {
                        self.machine.speaks(id);
                        self.machine.wants_successor(id);
                    }
                    Message::Files(files) => {
                        self.machine.speaks(id);
                        world.files(id, files);
                    }
                    // Those are for children.
                    _ => {}
                }
            }
            Event::Exited(id) => {
                if let Some(status) = world.collect(id) {
                    self.machine.exited(id, status, now, world);
                }
                world.forget(id);
            }
            Event::Command(Command::Replace(program)) => self.machine.replace(program, now, world),
            Event::Command(Command::StandIn(program, instead_of)) => {
                self.machine.stand_in(program, instead_of, now, world);
            }
            Event::Command(Command::Workers(count)) => self.machine.set_workers(count),
            Event::Command(Command::ReopenLogs) => self.machine.reopen_logs(world),
            Event::Command(Command::Stop) => self.machine.stop(0, now, world),
        }
    }

    fn handle_signal(&mut self, signal: i32, now: Instant) {
        /// As shells report a program that SIGQUIT has ended.
        const QUIT: i32 = 131;
        let world = &mut self.processes;
        match signal {
            // Nobody is left who could stop it.
            SIGHUP if self.terminals.are_gone() => self.machine.stop(0, now, world),
            SIGHUP => self.machine.replace(None, now, world),
            SIGTERM => self.machine.stop(0, now, world),
            SIGINT => {
                if !self.machine.is_stopping() {
                    world.say("Stopping when the running requests are done; press CTRL+C again to stop at once.");
                }
                self.machine.interrupt(now, world);
            }
            SIGQUIT => self.machine.quit(QUIT, now, world),
            SIGUSR1 => self.machine.reopen_logs(world),
            SIGTTIN | SIGTTOU => {
                if signal == SIGTTIN {
                    self.machine.add_worker();
                } else {
                    self.machine.remove_worker();
                }
                world.say(&format!("Workers: {}", self.machine.workers()));
            }
            _ => {}
        }
    }
}

impl SupervisorHandle {
    /// Replaces the children one by one: by another program, or by the same in its newest form.
    ///
    /// A replacement that was still starting is given up for this one.
    pub fn replace(&self, program: Option<Program>) {
        self.tell(Command::Replace(program));
    }

    /// Replaces the children by a program that speaks for the real one, as a page that shows why that can't be built.
    /// The next [`replace`](SupervisorHandle::replace) ends it, also one without a program, and also SIGHUP.
    pub fn stand_in(&self, program: Program) {
        self.tell(Command::StandIn(program, None));
    }

    /// The same for a generation that has [failed](Events::failed), unless the children are being replaced again
    /// meanwhile: what was wrong with it is of no interest then.
    pub fn stand_in_for(&self, generation: u64, program: Program) {
        self.tell(Command::StandIn(program, Some(generation)));
    }

    /// Sets the number of children that serve beside each other; at least 1.
    pub fn set_workers(&self, count: usize) {
        self.tell(Command::Workers(count));
    }

    /// Tells the children to reopen their logs.
    pub fn reopen_logs(&self) {
        self.tell(Command::ReopenLogs);
    }

    /// Stops gracefully: running requests finish within [`Options::drain_deadline`].
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    fn tell(&self, command: Command) {
        // Nobody there: it has ended, which is what a stop wanted, and a replacement is too late for.
        let _ = self.sender.send(Event::Command(command));
    }
}
