//! What this test binary does when it is started again: it runs as a worker that uses the control socket, as a
//! supervisor, or as an exec wrapper.

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use amboss_reload::{
    exec_as_child, is_running_from_reloader, ControlMessage, ControlSender, ControlSocket, EventHandler, Forked,
    Inherited, Program, Supervisor, SupervisorOptions, WorkerDeath, WorkerFailure,
};
use amboss_testkit::{rerun, rerun_arguments, DEADLINE};

const ROLE: &str = "AMBOSS_TEST_ROLE";
const CODE: &str = "AMBOSS_TEST_CODE";
const WORKERS: &str = "AMBOSS_TEST_WORKERS";

fn me() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// A worker that does what is written in the file `code`: a version, and words that say how it behaves.
pub fn worker(code: &std::path::Path) -> Program {
    let mut program = Program::new("sh");
    // The test harness writes to stdout. A signal that is ignored here stays ignored after exec.
    let script = r#"grep -q ignore_sigterm "$AMBOSS_TEST_CODE" && trap "" TERM; exec "$@" >/dev/null"#;
    program.args = vec!["-c".into(), script.into(), "sh".into(), me().into()];
    program.args.extend(rerun_arguments("fixtures::run_as_worker").into_iter().map(Into::into));
    program.env = vec![(ROLE.into(), "worker".into()), (CODE.into(), code.into())];
    program
}

/// The value of [`Program::exec_wrapper`].
pub fn exec_wrapper() -> Vec<std::ffi::OsString> {
    let mut wrapper = vec![me().into()];
    wrapper.extend(rerun_arguments("fixtures::run_as_exec_wrapper").into_iter().map(Into::into));
    wrapper.push("--".into());
    wrapper
}

/// A supervisor of workers that run `code`, in a separate process.
pub fn supervisor(code: &std::path::Path, workers: usize) -> std::process::Command {
    let mut command = rerun("fixtures::run_as_supervisor");
    command.env(ROLE, "supervisor").env(CODE, code).env(WORKERS, workers.to_string());
    command
}

#[test]
#[ignore = "started by other tests"]
fn run_as_exec_wrapper() {
    if !is_running_from_reloader() {
        return;
    }
    let program = std::env::args_os().skip_while(|argument| argument != "--").skip(1);
    eprintln!("{}", exec_as_child(program));
    std::process::exit(127);
}

#[test]
#[ignore = "started by other tests"]
fn run_as_supervisor() {
    if std::env::var_os(ROLE).is_none_or(|role| role != "supervisor") {
        return;
    }
    struct Printer;
    impl EventHandler for Printer {
        fn started(&mut self, generation: u64, pid: u32) {
            println!("started {generation} {pid}");
        }
        fn ready(&mut self, generation: u64) {
            println!("ready {generation}");
        }
        fn failed(&mut self, failure: &WorkerFailure) {
            println!("failed {failure}");
        }
        fn died(&mut self, death: &WorkerDeath) {
            println!("died {} {}", death.pid, death.status);
        }
        fn replaced(&mut self, old: u64, new: u64) {
            println!("replaced {old} {new}");
        }
        fn log(&mut self, line: &str) {
            println!("log {line}");
        }
    }
    let code = PathBuf::from(std::env::var_os(CODE).unwrap());
    let mut options = SupervisorOptions::default();
    options.workers = std::env::var(WORKERS).unwrap().parse().unwrap();
    options.drain_timeout = Duration::from_secs(5);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    let mut program = worker(&code);
    let words = std::fs::read_to_string(&code).unwrap();
    if words.contains("forked") {
        program = Program::forked(fork);
    }
    if words.contains("plain") {
        program = crate::python_server::python_server("plain");
        program.exec_wrapper = Some(exec_wrapper());
        options.protocol = crate::python_server::READY_SOON;
    }
    let exit_code = Supervisor::new(program, vec![listener.into()], options, Box::new(Printer)).run();
    println!("exit code {exit_code}");
    if std::fs::read_to_string(&code).unwrap().contains("linger") {
        std::thread::sleep(DEADLINE);
    }
    std::process::exit(exit_code);
}

struct Server {
    version: String,
    reopened: AtomicUsize,
    /// Whether the worker was told to drain or to stop.
    draining: AtomicBool,
    stopping: AtomicBool,
    /// The number of threads that accept or serve.
    busy: AtomicUsize,
    sender: ControlSender,
}

#[test]
#[ignore = "started by other tests"]
fn run_as_worker() {
    if std::env::var_os(ROLE).is_none_or(|role| role != "worker") {
        return;
    }
    let inherited = Inherited::from_env().unwrap().unwrap();
    let mut control = inherited.take_control().unwrap().unwrap();
    if inherited.is_spare {
        wait_as_spare(&mut control);
    }
    serve(control, inherited.take_listeners().unwrap());
}

/// The file in which spares write their process ids.
pub fn spares(code: &std::path::Path) -> PathBuf {
    code.with_extension("spares")
}

/// Waits as a spare whose code may say how it misbehaves.
fn wait_as_spare(control: &mut ControlSocket) {
    let words = code();
    let code = PathBuf::from(std::env::var_os(CODE).unwrap());
    let mut file = std::fs::File::options().create(true).append(true).open(spares(&code)).unwrap();
    if !words.contains("unprepared") {
        control.send(&ControlMessage::Waiting).unwrap();
    }
    writeln!(file, "{}", std::process::id()).unwrap();
    let start = control.receive().unwrap();
    let Some(ControlMessage::Start { generation }) = start else { std::process::exit(0) };
    assert!(generation > 1);
    if words.contains("refuses") {
        std::process::exit(0);
    }
    if words.contains("silent") {
        let _ = control.receive();
        std::process::exit(0);
    }
    control.send(&ControlMessage::Accepted).unwrap();
}

/// Forks a worker, which is a copy of the supervisor's process.
fn fork(forked: Forked) -> std::io::Result<u32> {
    match fork::fork()? {
        fork::Fork::Parent(pid) => Ok(pid.unsigned_abs()),
        // The supervisor has to end this child, which would otherwise become a second supervisor.
        fork::Fork::Child if code().contains("returns") => Ok(1),
        fork::Fork::Child => {
            let child = forked.enter().unwrap();
            assert!(is_running_from_reloader());
            serve(child.control, child.listeners);
            std::process::exit(0);
        }
    }
}

fn code() -> String {
    std::fs::read_to_string(std::env::var_os(CODE).unwrap()).unwrap()
}

/// Runs a worker as its code says.
fn serve(mut control: ControlSocket, listeners: Vec<OwnedFd>) {
    let code = code();
    let mut words = code.split(' ');
    let version = words.next().unwrap().to_owned();
    let words: Vec<&str> = words.collect();
    let number = |prefix: &str| words.iter().find_map(|word| word.strip_prefix(prefix)?.parse::<i32>().ok());
    if let Some(code) = number("exit=") {
        eprintln!("version {version} is broken");
        std::process::exit(code);
    }
    if words.contains(&"hang") {
        while !matches!(control.receive().unwrap(), None | Some(ControlMessage::Drain | ControlMessage::Stop)) {}
        std::process::exit(0);
    }
    let server = Arc::new(Server {
        version,
        reopened: AtomicUsize::new(0),
        draining: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        busy: AtomicUsize::new(0),
        sender: control.sender(),
    });
    for listener in listeners {
        let accepting = server.clone();
        server.spawn(move || accepting.accept(TcpListener::from(listener)));
    }
    control.send(&ControlMessage::Ready).unwrap();
    if let Some(code) = number("then_exit=") {
        std::process::exit(code);
    }
    let finishing = server.clone();
    std::thread::spawn(move || finishing.finish());
    loop {
        match control.receive().unwrap() {
            _ if words.contains(&"ignore_messages") => {}
            Some(ControlMessage::Drain) => server.draining.store(true, Ordering::SeqCst),
            Some(ControlMessage::Connection { socket, read, .. }) => {
                let serving = server.clone();
                server.spawn(move || serving.serve(socket.into(), read));
            }
            Some(ControlMessage::ReopenLogs) => {
                server.reopened.fetch_add(1, Ordering::SeqCst);
            }
            end @ (Some(ControlMessage::Stop) | None) => {
                server.stopping.store(true, Ordering::SeqCst);
                server.draining.store(true, Ordering::SeqCst);
                if end.is_none() {
                    std::thread::park();
                }
            }
            other => panic!("{other:?} is not a message for a worker"),
        }
    }
}

impl Server {
    fn spawn(self: &Arc<Server>, body: impl FnOnce() + Send + 'static) {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let server = self.clone();
        std::thread::spawn(move || {
            body();
            server.busy.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn accept(self: Arc<Server>, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        while !self.is_draining() {
            match listener.accept() {
                Ok((stream, _)) => {
                    let serving = self.clone();
                    self.spawn(move || serving.serve(stream, Vec::new()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn serve(&self, mut stream: TcpStream, mut read: Vec<u8>) {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        loop {
            while let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = read.drain(..end + 4).collect();
                let path = String::from_utf8(head.split(|&byte| byte == b' ').nth(1).unwrap().to_vec()).unwrap();
                let body = self.respond(&path);
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(response.as_bytes()).is_err() || path == "/close" {
                    return;
                }
            }
            if self.is_draining() {
                if !self.stopping.load(Ordering::SeqCst) {
                    let message = ControlMessage::Connection {
                        socket: OwnedFd::from(stream),
                        client: String::new(),
                        read,
                        body: None,
                    };
                    let _ = self.sender.send(&message);
                }
                return;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => read.extend(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn respond(&self, path: &str) -> String {
        if let Some(time) = path.strip_prefix("/sleep/") {
            std::thread::sleep(Duration::from_millis(time.parse().unwrap()));
        }
        if let Some(code) = path.strip_prefix("/exit/") {
            eprintln!("told to exit with {code}");
            std::process::exit(code.parse().unwrap());
        }
        match path {
            "/replace-me" => {
                // The second request must change nothing.
                self.sender.send(&ControlMessage::ReplaceMe).unwrap();
                self.sender.send(&ControlMessage::ReplaceMe).unwrap();
                self.version.clone()
            }
            "/pid" => std::process::id().to_string(),
            "/reopened" => self.reopened.load(Ordering::SeqCst).to_string(),
            _ => self.version.clone(),
        }
    }

    fn finish(&self) {
        while !self.is_draining() || self.busy.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.sender.send(&ControlMessage::Drained);
        std::process::exit(0);
    }
}

/// The lines that a supervisor in a separate process prints.
pub fn lines(stdout: std::process::ChildStdout) -> impl Iterator<Item = String> {
    std::io::BufReader::new(stdout).lines().map_while(Result::ok)
}
