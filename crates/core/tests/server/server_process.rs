//! A server in a process of its own: this test binary, started again by [`ServerProcess`] to run [`serve`].
//!
//! A role says what it serves: a word for the kind of server and further words for its settings, as in
//! `forking processes=2 poll`.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::panicking_log::PanickingLog;
use crate::contract::panics::panicky;
use crate::support::*;
use amboss_core::http::Head;
use amboss_core::{
    make_server, make_server_from_systemd, Address, AppError, Application, Body, Concurrency, Environ, LocalAddr,
    PollerKind, Settings, StartResponse,
};
use amboss_testkit::{child_processes, proc_entries, rerun_arguments, OnDrop, Process};

const ROLE: &str = "AMBOSS_TEST_ROLE";
const ADDRESS: &str = "AMBOSS_TEST_ADDRESS";

fn test_binary() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// Returns a command that runs as the user `nobody` if this process is root's, and as the same user otherwise.
fn as_user_nobody(program: &str) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

/// A server in a process of its own. Dropping the value stops the server.
pub struct ServerProcess {
    pub addr: SocketAddr,
    process: Process,
}

impl ServerProcess {
    pub fn start(role: &str) -> ServerProcess {
        ServerProcess::run(role, test_binary())
    }

    /// Starts a server with a limit on its open descriptors.
    pub fn with_descriptor_limit(role: &str, descriptors: usize) -> ServerProcess {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""));
        command.arg(test_binary().get_program());
        ServerProcess::run(role, command)
    }

    /// Starts a server from a shell that ignores SIGCHLD, which its programs inherit. Not every `sh` can do that, so it
    /// is bash.
    pub fn ignoring_sigchld(role: &str) -> ServerProcess {
        let mut command = Command::new("bash");
        command.args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""]).arg(test_binary().get_program());
        let server = ServerProcess::run(role, command);
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        assert!(ignored >> (17 - 1) & 1 == 1, "SIGCHLD is not ignored: {status}");
        server
    }

    /// Starts a server as a user without privileges: the system's limit on processes does not apply to root. Reports a
    /// skip where that is not possible.
    pub fn unprivileged(role: &str) -> Option<ServerProcess> {
        let mut probe = as_user_nobody("prlimit");
        if !probe.arg("--nproc").output().is_ok_and(|output| output.status.success()) {
            skip("setpriv and prlimit, which limit the tasks of a process, cannot be used here");
            return None;
        }
        // Execute the file by its descriptor: its path may lead through folders that only root may enter.
        let mut command = Command::new("sh");
        command.arg("-c").arg("exec 3<\"$0\" \"$@\"").arg(test_binary().get_program());
        let exec = as_user_nobody("/proc/self/fd/3");
        command.arg(exec.get_program()).args(exec.get_args());
        Some(ServerProcess::run(role, command))
    }

    /// Allows or forbids the server to start threads and processes from now on. The server has to be
    /// [`unprivileged`](ServerProcess::unprivileged).
    pub fn allow_new_tasks(&self, allowed: bool) {
        let pid = self.process.id();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max processes")).unwrap();
        let limit = if allowed { line.split_whitespace().nth(1).unwrap() } else { "0" };
        let mut command = as_user_nobody("prlimit");
        command.arg(format!("--pid={pid}")).arg(format!("--nproc={limit}:"));
        assert!(command.status().unwrap().success());
    }

    /// Starts a server through an interpreter, whose script arranges an inherited descriptor and then executes the
    /// script's arguments.
    pub fn from_script(role: &str, interpreter: &[&str], address: &str) -> ServerProcess {
        let mut command = Command::new(interpreter[0]);
        command.args(&interpreter[1..]).arg(test_binary().get_program()).env(ADDRESS, address);
        ServerProcess::run(role, command)
    }

    fn run(role: &str, mut command: Command) -> ServerProcess {
        command.args(rerun_arguments("server_process::serve")).env(ROLE, role);
        let mut process = Process::spawn_with(&mut command, OnDrop::CloseStdin);
        let addr = process.wait_for_output("says where it listens", |output| {
            output.lines().find_map(|line| line.split_once("listening on ")?.1.parse().ok())
        });
        ServerProcess { addr, process }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Sends one request on a connection of its own, and returns the response.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.connect().with_fields("Connection: close\r\n").get(path)
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Returns the names in a folder that /proc has for the process: descriptors (`fd`), threads (`task`).
    pub fn entries(&self, folder: &str) -> Vec<String> {
        proc_entries(self.process.id(), folder)
    }

    /// Returns the processes that the server has started and not yet reaped, with their states.
    pub fn children(&self) -> Vec<(u32, char)> {
        child_processes(self.process.id())
    }

    /// Returns the processor time that the server has used, to the tick of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Asks it to stop.
    pub fn request_stop(&mut self) {
        self.process.close_stdin();
    }

    /// Waits until the process has exited. Whether it succeeded.
    #[track_caller]
    pub fn wait(&mut self) -> bool {
        self.process.wait().success()
    }

    /// Stops the server and waits until the process has exited. Whether it succeeded.
    #[track_caller]
    pub fn stop(&mut self) -> bool {
        self.request_stop();
        self.wait()
    }
}

/// The path of a request that needs no process: the response is the id of the process that answers it.
pub const IMMEDIATE: &str = "/pid/immediate";

/// An application that answers [`IMMEDIATE`] without waiting.
struct ProcessApp(fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError>);

impl Application for ProcessApp {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.0(environ, start_response)
    }

    fn is_immediate(&self, head: Head<'_>, _: &mut dyn FnMut()) -> bool {
        head.target() == IMMEDIATE.as_bytes()
    }
}

/// [`test_app`], with additional paths that end the process or return information about it.
fn process_app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    match path.as_str() {
        "/pid" | IMMEDIATE => {
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
    test_app(environ, start_response)
}

/// Not a test: what a [`ServerProcess`] runs.
#[test]
#[ignore = "other tests start it"]
fn serve() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut settings = Settings::default();
    settings.timeouts.shutdown = Duration::from_secs(2);
    let mut first = false;
    let mut app: fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> = process_app;
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
        settings.transport = Some(Arc::new(MaskingLayer::default()));
    }
    let concurrency = match kind {
        "single" => Concurrency::Single,
        "threads" | "systemd" => Concurrency::Threads,
        "forking" | "masked" => Concurrency::Processes,
        other => panic!("there is no role {other}"),
    };
    let app = ProcessApp(app);
    let mut server = match kind {
        "systemd" => make_server_from_systemd(app, concurrency, settings).unwrap().unwrap(),
        _ => make_server(&[address], app, concurrency, settings).unwrap(),
    };
    let handle = server.shutdown_handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        handle.shutdown();
    });
    let LocalAddr::Tcp(address) = &server.local_addrs()[0] else { panic!("not a TCP address") };
    println!("\nlistening on {address}");
    if first {
        // Serve one request before the server starts threads, so that a test can act in between.
        assert!(server.handle_request(DEADLINE).unwrap());
    }
    let served = catch_unwind(AssertUnwindSafe(|| server.serve_forever()));
    if let Err(payload) = &served {
        // A resumed panic, which no hook has printed.
        eprintln!("resumed panic: {}", payload.downcast_ref::<String>().map_or("no text", String::as_str));
    }
    served.unwrap().unwrap();
}
