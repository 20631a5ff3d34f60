//! The workers as processes: starting them, sending them messages and signals, and reaping them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustix::process::Signal;

use super::events::{EventHandler, WorkerDeath};
use super::fd_registry::FdRegistry;
use super::input::Input;
use super::options::{Protocol, SupervisorOptions};
use super::reporter::Reporter;
use super::semaphore::Semaphore;
use super::spare::Spare;
use super::state::{ProcessControl, StateEvent, WorkerCommand};
use super::thread_registry::ThreadRegistry;
use super::worker_threads::{copy_stderr, read_control, wait_for_exit};
use crate::process::{self, ChildProcess, ControlMessage, ControlSender, ControlSocket, Program, WeakControlSender};
use crate::sync::lock;

pub(super) struct Processes {
    /// `None` once no more workers are started.
    listeners: Option<Vec<OwnedFd>>,
    options: SupervisorOptions,
    reporter: Reporter,
    inputs: Sender<Input>,
    running: HashMap<u64, RunningWorker>,
    /// The control sockets of all workers, as long as they are open.
    control_sockets: Vec<WeakControlSender>,
    fd_registry: FdRegistry,
    /// Limits the connections that were received and not handled yet.
    unhandled: Arc<Semaphore>,
    threads: ThreadRegistry,
    spare: Option<Spare>,
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.unhandled.close();
    }
}

struct RunningWorker {
    process: ChildProcess,
    started: SystemTime,
    control: Option<ControlSender>,
    /// Whether the worker has sent a message, and so understands messages.
    has_sent: bool,
    captured: Arc<Mutex<Vec<u8>>>,
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        // Ends the reading thread even if a program that the worker left running keeps the other end open.
        if let Some(control) = &self.control {
            control.close();
        }
    }
}

impl RunningWorker {
    fn output(&self) -> Vec<u8> {
        lock(&self.captured).clone()
    }
}

impl Processes {
    pub(super) fn new(
        listeners: Vec<OwnedFd>,
        options: SupervisorOptions,
        handler: Box<dyn EventHandler>,
        inputs: Sender<Input>,
    ) -> Processes {
        Processes {
            listeners: Some(listeners),
            reporter: Reporter::new(handler, options.clone()),
            options,
            inputs,
            running: HashMap::new(),
            control_sockets: Vec::new(),
            fd_registry: FdRegistry::default(),
            unhandled: Arc::new(Semaphore::new()),
            threads: ThreadRegistry::default(),
            spare: None,
        }
    }

    /// Closes the supervisor's copies of the listening sockets; the workers close theirs as they stop.
    pub(super) fn stop_listening(&mut self) {
        // A spare has copies, too.
        self.spare = None;
        if self.listeners.take().is_some() {
            self.reporter.handler.stopping();
        }
    }

    pub(super) fn log(&mut self, line: &str) {
        self.reporter.log(line);
    }

    /// Reports the files of a worker's program.
    pub(super) fn files(&mut self, id: u64, files: Vec<PathBuf>) {
        if let Some(worker) = self.running.get(&id) {
            self.reporter.files(files, worker.started);
        }
    }

    /// Notes that a worker has sent a message, which is being handled now.
    pub(super) fn message_received(&mut self, id: u64, message: &ControlMessage) {
        if matches!(message, ControlMessage::Connection { .. }) {
            self.unhandled.release();
        }
        if let Some(worker) = self.running.get_mut(&id) {
            worker.has_sent = true;
        }
    }

    /// Whether a worker can take connections.
    pub(super) fn takes_connections(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|worker| worker.has_sent && worker.control.is_some())
    }

    /// Sends a message to a worker. Returns false if the worker cannot receive messages, now or later.
    pub(super) fn send(&mut self, id: u64, message: &ControlMessage) -> bool {
        let always_understands = self.options.protocol == Protocol::Control;
        let worker = self.running.get_mut(&id).filter(|worker| worker.has_sent || always_understands);
        let Some(worker) = worker else { return false };
        let Some(control) = &worker.control else { return false };
        match control.send(message) {
            Ok(()) => true,
            Err(error) => {
                worker.control = None;
                if error.kind() == io::ErrorKind::TimedOut {
                    let pid = worker.process.id();
                    worker.process.signal(Signal::KILL);
                    self.log(&format!("The process {pid} does not read its control socket; killing it."));
                }
                false
            }
        }
    }

    /// Reaps a worker that has ended.
    pub(super) fn reap(&mut self, id: u64) -> Option<ExitStatus> {
        // If SIGCHLD is ignored, the status is lost. Exit code 1 is the safe assumption: 0 would stop the supervisor.
        const UNKNOWN: i32 = 1 << 8;
        let worker = self.running.get_mut(&id)?;
        Some(worker.process.reap().unwrap_or_else(|_| ExitStatus::from_raw(UNKNOWN)))
    }

    /// Removes a worker that was reaped.
    pub(super) fn remove(&mut self, id: u64) {
        self.running.remove(&id);
    }

    fn output(&self, id: u64) -> Vec<u8> {
        self.running.get(&id).map(RunningWorker::output).unwrap_or_default()
    }

    fn pid(&self, id: u64) -> u32 {
        self.running.get(&id).map_or(0, |worker| worker.process.id())
    }

    fn start_process(&mut self, generation: u64, program: &Program) -> io::Result<(ChildProcess, Option<UnixStream>)> {
        self.control_sockets.retain(|control| control.upgrade().is_some());
        if let Some(started) = self.spare.take_if(|spare| spare.is_of(program)).and_then(|it| it.activate(generation)) {
            return Ok((started.0, Some(started.1)));
        }
        let listeners = self.listeners.as_deref().unwrap_or_default();
        let with_control = self.options.protocol.has_control_socket();
        if !program.is_forked() {
            return process::start(program, listeners, generation, with_control, Vec::new());
        }
        // The following values keep the descriptors open until the process is forked, and keep other threads from
        // adding any.
        let controls: Vec<ControlSender> = self.control_sockets.iter().filter_map(WeakControlSender::upgrade).collect();
        let registered = self.fd_registry.lock();
        let _threads = self.threads.lock_for_fork();
        let numbers = controls.iter().map(|control| control.as_fd().as_raw_fd()).chain(registered.iter().copied());
        let close_in_fork = numbers.chain(self.options.close_in_fork.iter().copied()).collect();
        process::start(program, listeners, generation, with_control, close_in_fork)
    }

    /// Starts the threads of a worker.
    fn start_threads(&mut self, id: u64, worker: &mut RunningWorker, control: Option<UnixStream>) -> io::Result<()> {
        // The threads that read hold a clone of `open`. When both have ended, everything that the worker sent was read.
        let (open, all_read) = channel();
        if let Some(control) = control {
            let control = ControlSocket::new(control)?;
            worker.control = Some(control.sender());
            self.control_sockets.push(control.sender().downgrade());
            let (inputs, open) = (self.inputs.clone(), open.clone());
            let (registry, unhandled) = (self.fd_registry.clone(), self.unhandled.clone());
            let read = move || read_control(id, control, &registry, &unhandled, &inputs, open);
            self.threads.spawn("control", read)?;
        }
        if let Some(stderr) = worker.process.take_stderr() {
            let captured = worker.captured.clone();
            self.threads.spawn("stderr", move || copy_stderr(stderr, &captured, open))?;
        }
        let (inputs, pid) = (self.inputs.clone(), worker.process.pid());
        self.threads.spawn("wait", move || wait_for_exit(id, pid, &inputs, &all_read))
    }
}

impl ProcessControl for Processes {
    fn start(&mut self, id: u64, generation: u64, program: &Program) -> io::Result<()> {
        // For a spare as well, which has read nothing of the program itself yet.
        let started = SystemTime::now();
        let (process, control) = self.start_process(generation, program)?;
        let pid = process.id();
        let mut worker = RunningWorker { process, started, control: None, has_sent: false, captured: Arc::default() };
        if let Err(error) = self.start_threads(id, &mut worker, control) {
            worker.process.signal(Signal::KILL);
            let _ = worker.process.reap();
            return Err(error);
        }
        self.running.insert(id, worker);
        self.reporter.handler.started(generation, pid);
        Ok(())
    }

    fn prepare_spare(&mut self, program: &Program) {
        // The old one's end frees memory first.
        self.spare = None;
        let with_control = self.options.protocol.has_control_socket() && !program.is_forked();
        if let Some(listeners) = self.listeners.as_deref().filter(|_| with_control) {
            // Without one, the next worker is started as usual, and reports what is wrong.
            self.spare = Spare::start(program, listeners).ok();
        }
    }

    fn command(&mut self, id: u64, command: WorkerCommand) {
        let message = match command {
            WorkerCommand::Drain | WorkerCommand::Abandon => Some(ControlMessage::Drain),
            WorkerCommand::Stop => Some(ControlMessage::Stop),
            WorkerCommand::ReopenLogs => {
                self.send(id, &ControlMessage::ReopenLogs);
                return;
            }
            WorkerCommand::Terminate | WorkerCommand::Kill => None,
        };
        if message.is_some_and(|message| self.send(id, &message)) {
            return;
        }
        if let Some(worker) = self.running.get(&id) {
            worker.process.signal(if command == WorkerCommand::Kill { Signal::KILL } else { Signal::TERM });
        }
    }

    fn report(&mut self, event: StateEvent) {
        match event {
            StateEvent::Ready { generation } => self.reporter.handler.ready(generation),
            StateEvent::Failed { id, generation, reason, serving, retry_in } => {
                let output = self.output(id);
                self.reporter.failed(generation, output, reason, serving, retry_in);
            }
            StateEvent::Died { id, generation, status, uptime, consecutive_failures, restart_in } => {
                let (pid, output) = (self.pid(id), self.output(id));
                let death = WorkerDeath { generation, pid, status, output, uptime, consecutive_failures, restart_in };
                self.reporter.died(&death);
            }
            StateEvent::Replaced { old, new } => self.reporter.handler.replaced(old, new),
            StateEvent::FallbackStarting { generation } => self.reporter.handler.fallback_starting(generation),
            StateEvent::TooManyRestarts { restart_in } => self.reporter.too_many_restarts(restart_in),
            StateEvent::DrainTimeout { id } => self.reporter.drain_timeout(self.pid(id)),
            StateEvent::FatalExit => {
                self.log("The application can't start, and trying again would not help; stopping.");
            }
            StateEvent::ApplicationEnded => self.log("The application has exited with code 0; stopping."),
        }
    }
}
