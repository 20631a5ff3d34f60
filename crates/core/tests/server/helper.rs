//! A server in a process of its own: this test binary, started again to play a role.
//!
//! A role is a word for the kind of server and further words for its settings, as in `forking processes=2 poll`.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::contract::panicking_log::PanickingLog;
use crate::contract::panics::panicky;
use crate::support::*;
use amboss_core::{
    make_server, make_server_from_systemd, Address, AppError, Body, Concurrency, Environ, LocalAddr, PollerKind,
    Settings, StartResponse,
};

const ROLE: &str = "AMBOSS_TEST_ROLE";
const ADDRESS: &str = "AMBOSS_TEST_ADDRESS";

/// A program run by nobody, if this is root; as it is otherwise.
fn as_nobody(program: &str) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

/// A helper process; ends when this is dropped.
pub struct Helper {
    pub addr: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: Arc<Mutex<String>>,
}

impl Helper {
    pub fn start(role: &str) -> Helper {
        Helper::run(role, Command::new(std::env::current_exe().unwrap()))
    }

    /// With so many descriptors at most.
    pub fn limited(role: &str, descriptors: usize) -> Helper {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""));
        command.arg(std::env::current_exe().unwrap());
        Helper::run(role, command)
    }

    /// Started by a shell that ignores SIGCHLD, which its programs inherit. Not every `sh` can do that.
    pub fn ignoring_children(role: &str) -> Helper {
        let mut command = Command::new("bash");
        command.args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
        let helper = Helper::run(role, command);
        let status = std::fs::read_to_string(format!("/proc/{}/status", helper.child.id())).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        assert!(ignored >> (17 - 1) & 1 == 1, "SIGCHLD is not ignored: {status}");
        helper
    }

    /// Waits until it has ended by itself; whether that was a success.
    #[track_caller]
    pub fn ends(&mut self) -> bool {
        let mut status = None;
        eventually("the helper ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().success()
    }

    /// As a user whom the system's limits bind: root's may have as many processes as they like. Says aloud when that
    /// can't be had.
    pub fn bounded(role: &str) -> Option<Helper> {
        let program = std::env::current_exe().unwrap();
        let mut probe = as_nobody("prlimit");
        if !probe.arg("--nproc").output().is_ok_and(|output| output.status.success()) {
            skipped("setpriv and prlimit, which make a process that limits bind");
            return None;
        }
        // By descriptor: the path may lead through folders that are root's alone.
        let mut command = Command::new("sh");
        command.arg("-c").arg("exec 3<\"$0\" \"$@\"").arg(program);
        let exec = as_nobody("/proc/self/fd/3");
        command.arg(exec.get_program()).args(exec.get_args());
        Some(Helper::run(role, command))
    }

    /// Whether it may start threads and processes from now on. Only for one that is [`bounded`](Helper::bounded).
    pub fn may_start(&self, more: bool) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max processes")).unwrap();
        let most = if more { line.split_whitespace().nth(1).unwrap() } else { "0" };
        let mut command = as_nobody("prlimit");
        command.arg(format!("--pid={}", self.child.id())).arg(format!("--nproc={most}:"));
        assert!(command.status().unwrap().success());
    }

    /// On an inherited descriptor: `script` arranges it and ends by running `"$@"`.
    pub fn scripted(role: &str, interpreter: &[&str], address: &str) -> Helper {
        let mut command = Command::new(interpreter[0]);
        command.args(&interpreter[1..]).arg(std::env::current_exe().unwrap()).env(ADDRESS, address);
        Helper::run(role, command)
    }

    fn run(role: &str, mut command: Command) -> Helper {
        command
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", "helper::a_process_of_its_own"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut errors = child.stderr.take().unwrap();
        let kept = stderr.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut piece) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on ")?;
            address.parse().ok()
        });
        let Some(addr) = addr else { panic!("the helper did not start: {}", stderr.lock().unwrap()) };
        std::thread::spawn(move || lines.for_each(drop));
        Helper { addr, child, stdin, stderr }
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn get(&self, path: &str) -> Response {
        let mut client = Client::connect(self.addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.response()
    }

    /// Entries of a directory below the process's in /proc: descriptors (`fd`), threads (`task`).
    pub fn count(&self, what: &str) -> usize {
        self.entries(what).count()
    }

    /// The names in a folder that the system keeps about the process.
    pub fn entries(&self, what: &str) -> impl Iterator<Item = String> {
        let folder = std::fs::read_dir(format!("/proc/{}/{what}", self.child.id())).unwrap();
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap())
    }

    /// The processes that it started and that have not been reaped, with their states.
    pub fn children(&self) -> Vec<(u32, char)> {
        let mut children = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some((pid, rest)) = stat.split_once(" (") else { continue };
            let Some((_, rest)) = rest.rsplit_once(") ") else { continue };
            let mut words = rest.split(' ');
            let state = words.next().and_then(|state| state.chars().next()).unwrap();
            if words.next().and_then(|parent| parent.parse().ok()) == Some(self.child.id()) {
                children.push((pid.parse().unwrap(), state));
            }
        }
        children
    }

    /// Processor time used so far, to the tick of 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Asks it to stop.
    pub fn tell_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> bool {
        self.tell_to_stop();
        self.ends()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stdin = None;
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while std::time::Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn helper_app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    match path.as_str() {
        "/pid" => {
            start_response.start("200 OK", &[])?;
            return Ok(Body::from(std::process::id().to_string()));
        }
        "/abort" => std::process::abort(),
        "/panic" => panic!("panic in a child"),
        "/fail" => return Err("error in a child".into()),
        "/exit" => std::process::exit(0),
        "/shutdown" => environ.shutdown_server(),
        _ => {}
    }
    if let Some(time) = path.strip_prefix("/sleep/") {
        std::thread::sleep(Duration::from_millis(time.parse()?));
    }
    fixture(environ, start_response)
}

/// No test by itself: what a [`Helper`] runs.
#[test]
#[ignore = "is started by other tests"]
fn a_process_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut settings = Settings::default();
    settings.timeouts.shutdown = Duration::from_secs(2);
    let mut first = false;
    let mut app: fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> = helper_app;
    let (kind, words) = role.split_once(' ').unwrap_or((&role, ""));
    for word in words.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("processes", count) => settings.runtime.processes = count.parse().unwrap(),
            ("poll", "") => settings.runtime.poller = PollerKind::Poll,
            ("first", "") => first = true,
            ("passthrough", "") => settings.passthrough_errors = true,
            ("panicking", "") => {
                settings.log = Arc::new(PanickingLog);
                app = panicky;
            }
            _ => panic!("there is no setting {word}"),
        }
    }
    let address: Address = std::env::var(ADDRESS).unwrap_or("127.0.0.1:0".into()).parse().unwrap();
    if kind == "masked" {
        settings.transport = Some(Arc::new(crate::transport::Masking::default()));
    }
    let concurrency = match kind {
        "base" => Concurrency::Single,
        "threads" | "systemd" => Concurrency::Threads,
        "forking" | "masked" => Concurrency::Processes,
        other => panic!("there is no role {other}"),
    };
    let mut server = match kind {
        "systemd" => make_server_from_systemd(app, concurrency, settings).unwrap().unwrap(),
        _ => make_server(&[address], app, concurrency, settings).unwrap(),
    };
    let handle = server.shutdown_handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        handle.shutdown();
    });
    let LocalAddr::Tcp(address) = &server.local_addrs()[0] else { panic!("no TCP address") };
    println!("\nlistening on {address}");
    if first {
        // One request before the server starts threads, so that a test can arrange something in between.
        assert!(server.handle_request(DEADLINE).unwrap());
    }
    let served = catch_unwind(AssertUnwindSafe(|| server.serve_forever()));
    if let Err(payload) = &served {
        // Resumed, so that no hook has printed it.
        eprintln!("resumed panic: {}", payload.downcast_ref::<String>().map_or("no text", String::as_str));
    }
    served.unwrap().unwrap();
}
