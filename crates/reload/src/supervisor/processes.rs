//! The children as processes: starting them, telling them, hearing them, and their end.
//!
//! The thread that waits for a child's end does not collect it, so that its process id stays its own until this room
//! does: a signal never hits a stranger.

mod thread_pool;
mod threads;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use super::events::{last_line, Death, Events, Failure};
use super::machine::{Notice, Order, Why, World};
use super::options::{Options, Protocol};
use super::passing::Passing;
use super::Event;
use crate::child::{self, Process, Program};
use crate::control::{self, Control, Message, WeakSender};
use thread_pool::Threads;
use threads::{copy, listen, wait, Gate};

/// What became of a message.
pub(super) enum Sent {
    Yes,
    /// The child is gone, or about to be.
    No,
}

pub(super) struct Processes {
    /// `None` when no child is started any more.
    listeners: Option<Vec<OwnedFd>>,
    with_control: bool,
    options: Options,
    events: Box<dyn Events>,
    sender: Sender<Event>,
    running: HashMap<u64, Running>,
    /// Of all children, as long as they are open.
    controls: Vec<WeakSender>,
    passing: Passing,
    gate: Arc<Gate>,
    threads: Threads,
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.gate.close();
    }
}

struct Running {
    process: Process,
    started: SystemTime,
    control: Option<control::Sender>,
    /// It has said something: it will understand.
    speaks: bool,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its reading thread ends also when a program that the child left behind keeps the other end.
        if let Some(control) = &self.control {
            control.close();
        }
    }
}

impl Running {
    fn output(&self) -> Vec<u8> {
        self.output.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Processes {
    pub(super) fn new(
        listeners: Vec<OwnedFd>,
        options: Options,
        events: Box<dyn Events>,
        sender: Sender<Event>,
    ) -> Processes {
        let with_control = options.protocol.has_control();
        Processes {
            listeners: Some(listeners),
            with_control,
            options,
            events,
            sender,
            running: HashMap::new(),
            controls: Vec::new(),
            passing: Passing::default(),
            gate: Arc::new(Gate::new()),
            threads: Threads::default(),
        }
    }

    /// Leaves the sockets to the children, which close them as they stop.
    pub(super) fn stop_listening(&mut self) {
        if self.listeners.take().is_some() {
            self.events.stopping();
        }
    }

    fn start_process(&mut self, generation: u64, program: &Program) -> io::Result<(Process, Option<UnixStream>)> {
        self.controls.retain(|control| control.upgrade().is_some());
        let listeners = self.listeners.as_deref().unwrap_or_default();
        if !program.is_forked() {
            return child::start(program, listeners, generation, self.with_control, Vec::new());
        }
        // None of them is closed, and no other one opened, before the process is copied.
        let controls: Vec<control::Sender> = self.controls.iter().filter_map(WeakSender::upgrade).collect();
        let passing = self.passing.lock();
        let _threads = self.threads.hold();
        let numbers = controls.iter().map(|control| control.as_fd().as_raw_fd()).chain(passing.iter().copied());
        let private = numbers.chain(self.options.private.iter().copied()).collect();
        child::start(program, listeners, generation, self.with_control, private)
    }

    pub(super) fn say(&mut self, line: &str) {
        self.events.say(line);
    }

    pub(super) fn files(&mut self, id: u64, files: Vec<PathBuf>) {
        if let Some(running) = self.running.get(&id) {
            self.events.files(files, running.started);
        }
    }

    /// A child has said something over its control socket.
    pub(super) fn heard(&mut self, id: u64, message: &Message) {
        if matches!(message, Message::Connection { .. }) {
            self.gate.leave();
        }
        if let Some(running) = self.running.get_mut(&id) {
            running.speaks = true;
        }
    }

    pub(super) fn speaks(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|running| running.speaks && running.control.is_some())
    }

    /// Hands a connection to a child.
    pub(super) fn hand(&mut self, id: u64, connection: &Message) -> Sent {
        if self.send(id, connection) {
            Sent::Yes
        } else {
            Sent::No
        }
    }

    /// False when the child can't be spoken to, now and later.
    fn send(&mut self, id: u64, message: &Message) -> bool {
        let speaks = self.options.protocol == Protocol::Control;
        let Some(running) = self.running.get_mut(&id).filter(|running| running.speaks || speaks) else { return false };
        let Some(control) = &running.control else { return false };
        match control.send(message) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    let pid = running.process.id();
                    running.process.signal(Signal::KILL);
                    self.events.say(&format!("The process {pid} hangs; killing it."));
                }
                running.control = None;
                false
            }
        }
    }

    /// Collects a child that has ended.
    pub(super) fn collect(&mut self, id: u64) -> Option<ExitStatus> {
        // Where SIGCHLD is ignored nobody knows how it ended. A death is the careful guess: 0 would end everything.
        const UNKNOWN: i32 = 1 << 8;
        let running = self.running.get_mut(&id)?;
        Some(running.process.collect().unwrap_or_else(|_| ExitStatus::from_raw(UNKNOWN)))
    }

    /// Forgets a child that was collected.
    pub(super) fn forget(&mut self, id: u64) {
        self.running.remove(&id);
    }

    fn output(&self, id: u64) -> Vec<u8> {
        self.running.get(&id).map(Running::output).unwrap_or_default()
    }

    fn pid(&self, id: u64) -> u32 {
        self.running.get(&id).map_or(0, |running| running.process.id())
    }

    fn tell_failed(&mut self, id: u64, generation: u64, why: Why, serving: bool, again_in: Option<Duration>) {
        let (why, status) = match why {
            Why::NotStarted(error) => (format!("could not be started: {error}"), None),
            Why::Exited(status) => (format!("ended before it was ready ({status})"), Some(status)),
            Why::TooSlow => (format!("was not ready within {}", seconds(self.options.start_deadline)), None),
        };
        let output = self.output(id);
        let next = match (serving, again_in) {
            (true, None) => "; the old one keeps serving.".to_owned(),
            (false, None) => "; waiting for a change.".to_owned(),
            (_, Some(delay)) => format!("; trying again in {}.", seconds(delay)),
        };
        self.say(&format!("The new process {why}{next}"));
        let why = format!("The new process {why}.");
        self.events.failed(&Failure { generation, output, status, why, serving });
    }

    fn tell_died(&mut self, death: &Death) {
        let Death { pid, status, row, again_in, .. } = death;
        let again = seconds(*again_in);
        if *row <= 2 {
            self.say(&format!("The process {pid} died ({status}); starting another in {again}."));
        } else {
            let word = last_line(&death.output).map_or_else(String::new, |line| format!(": {line}"));
            self.say(&format!(
                "The process {pid} died ({status}{word}); {row} in a row have lived less than {}. \
                 Starting another in {again}.",
                seconds(self.options.healthy_after)
            ));
        }
        self.events.died(death);
    }
}

impl World for Processes {
    fn start(&mut self, id: u64, generation: u64, program: &Program) -> io::Result<()> {
        let started = SystemTime::now();
        let (mut process, control) = self.start_process(generation, program)?;
        let pid = process.id();
        let errors = process.take_stderr();
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut running = Running { process, started, control: None, speaks: false, output: output.clone() };
        let threads = (|| {
            // Both threads hold a clone; when both have ended, everything that the child said has been heard.
            let (heard, all_heard) = channel();
            if let Some(control) = control {
                let control = Control::new(control)?;
                running.control = Some(control.sender());
                self.controls.push(control.sender().downgrade());
                let (events, heard) = (self.sender.clone(), heard.clone());
                let (passing, gate) = (self.passing.clone(), self.gate.clone());
                self.threads.spawn("control", move || listen(id, control, &passing, &gate, &events, heard))?;
            }
            if let Some(errors) = errors {
                self.threads.spawn("stderr", move || copy(errors, &output, heard))?;
            }
            let (events, pid) = (self.sender.clone(), running.process.pid());
            self.threads.spawn("wait", move || wait(id, pid, &events, &all_heard))
        })();
        if let Err(error) = threads {
            running.process.signal(Signal::KILL);
            let _ = running.process.collect();
            return Err(error);
        }
        self.running.insert(id, running);
        self.events.started(generation, pid);
        Ok(())
    }

    fn order(&mut self, id: u64, order: Order) {
        let polite = match order {
            Order::Drain | Order::Abandon => Some(Message::Drain),
            Order::Stop => Some(Message::Stop),
            Order::ReopenLogs => {
                self.send(id, &Message::ReopenLogs);
                return;
            }
            Order::Terminate | Order::Kill => None,
        };
        if polite.is_some_and(|message| self.send(id, &message)) {
            return;
        }
        if let Some(running) = self.running.get(&id) {
            running.process.signal(if order == Order::Kill { Signal::KILL } else { Signal::TERM });
        }
    }

    fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Ready { generation } => self.events.ready(generation),
            Notice::Failed { id, generation, why, serving, again_in } => {
                self.tell_failed(id, generation, why, serving, again_in);
            }
            Notice::Died { id, generation, status, lived, row, again_in } => {
                let (pid, output) = (self.pid(id), self.output(id));
                self.tell_died(&Death { generation, pid, status, output, lived, row, again_in });
            }
            Notice::Swapped { old, new } => self.events.swapped(old, new),
            Notice::StandsIn { generation } => self.events.stands_in(generation),
            Notice::TooManyRestarts { again_in } => self.say(&format!(
                "The program asked for a restart (exit code 3) more than {} times within {}; granting the next in {}.",
                self.options.again,
                seconds(self.options.again_within),
                seconds(again_in)
            )),
            Notice::TooSlowToLeave { id } => self.say(&format!(
                "The process {} has not finished within {}; ending it.",
                self.pid(id),
                seconds(self.options.drain_deadline)
            )),
            Notice::GivenUp => self.say("It can't start, and trying again would not help; stopping."),
            Notice::Ended => self.say("The application has ended itself; stopping."),
        }
    }
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
}
