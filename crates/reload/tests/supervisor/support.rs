//! Starting supervisors, and talking HTTP to their children.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amboss_reload::child::Program;
use amboss_reload::supervisor::{Death, Events, Failure, Options, Outcome, Supervisor, SupervisorHandle};
use rustix::process::{kill_process, Pid, Signal};

use crate::roles;

/// Longer than anything takes on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A file whose text is the "code" of children; removed when it is dropped.
pub struct Code {
    path: PathBuf,
}

impl Code {
    pub fn new(text: &str) -> Code {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("amboss-code-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let code = Code { path: std::env::temp_dir().join(name) };
        code.save(text);
        code
    }

    /// At once: nobody reads half of it.
    pub fn save(&self, text: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.path).unwrap();
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What was told, a line for each event.
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

    /// Waits for the `count`th line with `part` in it.
    #[track_caller]
    pub fn expect(&self, count: usize, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().filter(|line| line.contains(part)).nth(count - 1) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no {count} times {part:?} in {lines:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The process ids of all children so far.
    pub fn pids(&self) -> Vec<i32> {
        let pid = |line: &String| line.strip_prefix("started ")?.split(' ').nth(1)?.parse().ok();
        self.lines().iter().filter_map(pid).collect()
    }
}

impl Events for Log {
    fn started(&mut self, generation: u64, pid: u32) {
        self.push(format!("started {generation} {pid}"));
    }

    fn ready(&mut self, generation: u64) {
        self.push(format!("ready {generation}"));
    }

    fn failed(&mut self, failure: &Failure) {
        let output = String::from_utf8_lossy(&failure.output);
        self.push(format!("failed {} serving={} {failure} {output}", failure.generation, failure.serving));
    }

    fn died(&mut self, death: &Death) {
        self.push(format!("died {} row={} {} again={:?}", death.pid, death.row, death.status, death.again_in));
    }

    fn swapped(&mut self, old: u64, new: u64) {
        self.push(format!("swapped {old} {new}"));
    }

    fn say(&mut self, line: &str) {
        self.push(format!("say {line}"));
    }
}

/// A supervisor in a thread; stopped when it is dropped.
pub struct Site {
    pub addr: SocketAddr,
    pub log: Log,
    pub handle: SupervisorHandle,
    thread: Option<JoinHandle<Outcome>>,
}

impl Site {
    pub fn start(program: Program, mut options: Options) -> Site {
        // Signals belong to the whole process, and so to all tests in it.
        options.signals = false;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Log::default();
        let supervisor = Supervisor::new(program, vec![listener.into()], options, Box::new(log.clone()));
        let handle = supervisor.handle();
        let thread = std::thread::spawn(move || supervisor.run());
        Site { addr, log, handle, thread: Some(thread) }
    }

    /// When it serves.
    pub fn ready(program: Program, options: Options) -> Site {
        let workers = options.workers;
        let site = Site::start(program, options);
        site.log.expect(workers, "ready 1");
        site
    }

    pub fn get(&self, path: &str) -> String {
        Client::connect(self.addr).get(path).unwrap()
    }

    /// Waits for the version: an old child may still take a connection before it hears that it is replaced.
    #[track_caller]
    pub fn answers(&self, version: &str) {
        eventually("the new code answers", || self.get("/") == version);
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn outcome(mut self) -> i32 {
        let thread = self.thread.take().unwrap();
        eventually("the supervisor ends", || thread.is_finished());
        thread.join().unwrap().exit_code
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.stop();
            let _ = thread.join();
        }
    }
}

/// A supervisor in a process of its own; killed when it is dropped, with what it may have left.
pub struct Apart {
    pub addr: SocketAddr,
    pub log: Log,
    child: Child,
}

impl Apart {
    pub fn start(code: &Code, workers: usize) -> Apart {
        let mut child = roles::supervisor(code.path(), workers).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        let (stdout, lines) = (child.stdout.take().unwrap(), log.clone());
        std::thread::spawn(move || roles::lines(stdout).for_each(|line| lines.push(line)));
        let addr = log.expect(1, "listening ").strip_prefix("listening ").unwrap().parse().unwrap();
        Apart { addr, log, child }
    }

    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn get(&self, path: &str) -> String {
        Client::connect(self.addr).get(path).unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        eventually("the supervisor ends", || self.has_ended());
        self.child.wait().unwrap().code()
    }

    /// Its threads (`task`) or descriptors (`fd`).
    #[cfg(target_os = "linux")]
    pub fn entries(&self, what: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{what}", self.pid())).unwrap().count()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let deadline = Instant::now() + Duration::from_secs(5);
        for pid in self.log.pids() {
            while is_alive(pid) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if is_alive(pid) {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
        }
    }
}

/// Is there such a process? One that nobody has collected yet does not count.
pub fn is_alive(pid: i32) -> bool {
    if rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err() {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

/// A process that stands still until this is dropped.
pub struct Stopped(Pid);

impl Stopped {
    #[track_caller]
    pub fn new(pid: i32) -> Stopped {
        let stopped = Stopped(Pid::from_raw(pid).unwrap());
        kill_process(stopped.0, Signal::STOP).unwrap();
        eventually("all its threads stand still", || {
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
            let mut stats =
                tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default());
            stats.all(|stat| stat.contains(") T "))
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// A kept-alive connection.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: Vec::new() }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until a request runs. It came together with one that was answered before.
    pub fn runs(&mut self, path: &str) {
        self.send(&format!("GET / HTTP/1.1\r\n\r\nGET {path} HTTP/1.1\r\n\r\n"));
        self.answer().unwrap();
    }

    pub fn get(&mut self, path: &str) -> io::Result<String> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
        self.answer()
    }

    /// The body of the next answer.
    pub fn answer(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
                let (_, rest) = head.split_once("content-length: ").expect("answers have a length");
                let length: usize = rest.lines().next().unwrap().trim().parse().unwrap();
                if self.read.len() >= end + 4 + length {
                    let answer: Vec<u8> = self.read.drain(..end + 4 + length).collect();
                    return Ok(String::from_utf8_lossy(&answer[end + 4..]).into_owned());
                }
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.read.extend(&piece[..count]),
            }
        }
    }
}
