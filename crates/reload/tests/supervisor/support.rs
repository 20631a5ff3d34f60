//! Starting supervisors, and waiting for their events.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amboss_reload::{
    EventHandler, Program, Supervisor, SupervisorHandle, SupervisorOptions, WorkerDeath, WorkerFailure,
};
pub use amboss_testkit::{is_alive, is_installed, send_signal, wait_until, Client, End, PausedProcess, DEADLINE};
use amboss_testkit::{poll_until, write_atomically, TempDir};
use rustix::process::{kill_process, Pid, Signal};

use crate::fixtures;

/// A file with the "code" of workers, see `fixtures`. Removed when it is dropped.
pub struct CodeFile {
    path: PathBuf,
    _folder: TempDir,
}

impl CodeFile {
    pub fn new(text: &str) -> CodeFile {
        let folder = TempDir::new("code");
        let code = CodeFile { path: folder.join("code"), _folder: folder };
        code.save(text);
        code
    }

    /// Replaces the code atomically, so that no worker reads half of it.
    pub fn save(&self, text: &str) {
        write_atomically(&self.path, text);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The events of a supervisor, one line each.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn count(&self, part: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for the `count`th line that contains `part`.
    #[track_caller]
    pub fn expect(&self, count: usize, part: &str) -> String {
        let poll = || self.lines().into_iter().filter(|line| line.contains(part)).nth(count - 1);
        poll_until(DEADLINE, poll, || format!("waiting for {count} lines with {part:?} in {:#?}", self.lines()))
    }

    /// The process ids of all workers so far.
    pub fn pids(&self) -> Vec<u32> {
        let pid = |line: &String| line.strip_prefix("started ")?.split(' ').nth(1)?.parse().ok();
        self.lines().iter().filter_map(pid).collect()
    }
}

impl EventHandler for Log {
    fn started(&mut self, generation: u64, pid: u32) {
        self.push(format!("started {generation} {pid}"));
    }

    fn ready(&mut self, generation: u64) {
        self.push(format!("ready {generation}"));
    }

    fn failed(&mut self, failure: &WorkerFailure) {
        let output = String::from_utf8_lossy(&failure.output);
        self.push(format!("failed {} serving={} {failure} {output}", failure.generation, failure.serving));
    }

    fn died(&mut self, death: &WorkerDeath) {
        self.push(format!(
            "died {} failures={} {} restart_in={:?}",
            death.pid, death.consecutive_failures, death.status, death.restart_in
        ));
    }

    fn replaced(&mut self, old: u64, new: u64) {
        self.push(format!("replaced {old} {new}"));
    }

    fn log(&mut self, line: &str) {
        self.push(format!("log {line}"));
    }
}

/// A supervisor in a thread. Stopped when it is dropped.
pub struct TestSupervisor {
    pub addr: SocketAddr,
    pub log: Log,
    pub handle: SupervisorHandle,
    thread: Option<JoinHandle<i32>>,
}

impl TestSupervisor {
    pub fn start(program: Program, mut options: SupervisorOptions) -> TestSupervisor {
        // Signals concern the whole process, and so all tests in it.
        options.handle_signals = false;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Log::default();
        let supervisor = Supervisor::new(program, vec![listener.into()], options, Box::new(log.clone()));
        let handle = supervisor.handle();
        let thread = std::thread::spawn(move || supervisor.run());
        TestSupervisor { addr, log, handle, thread: Some(thread) }
    }

    /// Starts a supervisor, and returns when all its workers serve.
    pub fn ready(program: Program, options: SupervisorOptions) -> TestSupervisor {
        let workers = options.workers;
        let supervisor = TestSupervisor::start(program, options);
        supervisor.log.expect(workers, "ready 1");
        supervisor
    }

    pub fn get(&self, path: &str) -> String {
        Client::connect(self.addr).try_get(path).unwrap().text()
    }

    /// Waits until the new version responds. An old worker may still accept a connection before it learns that it is
    /// replaced.
    #[track_caller]
    pub fn wait_for_version(&self, version: &str) {
        wait_until("the new code responds", || self.get("/") == version);
    }

    /// Waits until the supervisor has ended, and returns its exit code.
    #[track_caller]
    pub fn exit_code(mut self) -> i32 {
        let thread = self.thread.take().unwrap();
        wait_until("the supervisor has ended", || thread.is_finished());
        thread.join().unwrap()
    }
}

impl Drop for TestSupervisor {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.stop();
            let _ = thread.join();
        }
    }
}

/// A supervisor in a separate process. Killed when it is dropped, together with workers that it has left. Its standard
/// output becomes lines of a [`Log`], while `amboss_testkit::Process` would keep it as text.
pub struct SupervisorProcess {
    pub addr: SocketAddr,
    pub log: Log,
    child: Child,
}

impl SupervisorProcess {
    pub fn start(code: &CodeFile, workers: usize) -> SupervisorProcess {
        let mut child =
            fixtures::supervisor(code.path(), workers).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        let (stdout, lines) = (child.stdout.take().unwrap(), log.clone());
        std::thread::spawn(move || fixtures::lines(stdout).for_each(|line| lines.push(line)));
        let addr = log.expect(1, "listening ").strip_prefix("listening ").unwrap().parse().unwrap();
        SupervisorProcess { addr, log, child }
    }

    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn get(&self, path: &str) -> String {
        Client::connect(self.addr).try_get(path).unwrap().text()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        wait_until("the supervisor has ended", || self.has_ended());
        self.child.wait().unwrap().code()
    }

    /// The number of the supervisor's threads (`task`) or descriptors (`fd`).
    #[cfg(target_os = "linux")]
    pub fn entries(&self, what: &str) -> usize {
        amboss_testkit::proc_entries(self.pid(), what).len()
    }
}

impl Drop for SupervisorProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Not `wait_until`: a panic while a failed test unwinds would abort the process.
        let deadline = Instant::now() + Duration::from_secs(5);
        for pid in self.log.pids() {
            while is_alive(pid) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if is_alive(pid) {
                send_signal(pid, "KILL");
            }
        }
    }
}
