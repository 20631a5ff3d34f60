//! The program under reload: started, asked, changed and ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amboss::{
    run_simple, AppError, Body, Environ, OnLoadFailure, ReloaderType, RunError, RunErrorKind, RunOptions, StartResponse,
};

/// Nothing in these tests takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(DEADLINE, what, condition);
}

#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What makes this binary play the program.
pub const ARGUMENTS: [&str; 5] = ["--ignored", "--exact", "--nocapture", "--test-threads=1", "program::runs"];

/// A supervisor with its children, in a folder of its own.
pub struct Program {
    pub child: Child,
    pub port: u16,
    folder: PathBuf,
    said: Arc<Mutex<String>>,
}

/// What the program is told, by its environment.
#[derive(Default)]
pub struct Told {
    pub error_page: bool,
    pub workers: usize,
    pub stat: bool,
    pub live: bool,
    /// Runs a host that makes its application only where it serves.
    pub host: bool,
    pub supervised: bool,
    /// As a host whose application is in memory before its processes are made.
    pub forked: bool,
    /// The first code, unless it is "good 0".
    pub code: Option<&'static str>,
}

impl Program {
    pub fn start(name: &str, told: Told) -> Program {
        let folder = std::env::temp_dir().join(format!("amboss-reload-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("code"), told.code.unwrap_or("good 0")).unwrap();
        // Not so new that it may have been written while somebody read it.
        let code = std::fs::File::options().write(true).open(folder.join("code")).unwrap();
        code.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(ARGUMENTS)
            .current_dir(&folder)
            .process_group(0)
            .env("AMBOSS_TEST_FOLDER", &folder)
            .env("AMBOSS_TEST_WORKERS", told.workers.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for (variable, set) in [
            ("AMBOSS_TEST_ERROR_PAGE", told.error_page),
            ("AMBOSS_TEST_STAT", told.stat),
            ("AMBOSS_TEST_LIVE", told.live),
            ("AMBOSS_TEST_HOST", told.host || told.forked),
            ("AMBOSS_TEST_FORKED", told.forked),
            ("AMBOSS_TEST_SUPERVISED", told.supervised),
        ] {
            if set {
                command.env(variable, "1");
            }
        }
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut lines, kept) = (BufReader::new(child.stderr.take().unwrap()), said.clone());
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while let Ok(1..) = lines.read_until(b'\n', &mut line) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let mut program = Program { child, port: 0, folder, said };
        eventually("the banner says where", || {
            let said = program.said();
            let port = said.split("127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            program.port = port.unwrap_or(0);
            program.port != 0
        });
        program
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until that was said: what a child says may take a moment.
    #[track_caller]
    pub fn wait_for_word(&self, word: &str) {
        eventually(&format!("{word:?} is said"), || self.said().contains(word));
    }

    /// Saves new code.
    pub fn save(&self, code: &str) {
        self.write("code", code);
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // At once: nobody sees half of it.
        let beside = self.folder.join(format!("{name}~"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    pub fn connect(&self) -> Option<Client> {
        Client::connect(self.port).ok()
    }

    /// What a client gets that connects now; `None` when it gets nothing whole.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.connect()?.get(path).ok()
    }

    /// What stands in the page once there is one. For a moment the old process answers as well.
    #[track_caller]
    pub fn wait_for_page(&self, path: &str) -> String {
        let mut page = String::new();
        eventually("the page is there", || {
            let (status, body) = self.get(path).unwrap_or_default();
            page = body;
            status == 503
        });
        page
    }

    /// The answer's first word is the code, the second the process that runs it.
    #[track_caller]
    pub fn wait_for(&self, code: &str) -> u32 {
        let mut pid = 0;
        eventually(&format!("{code:?} is served; {}", self.said()), || {
            let answer = self.get("/").unwrap_or_default().1;
            let words = answer.split('<').next().unwrap_or_default();
            pid = words.rsplit(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
            answer.starts_with(code)
        });
        pid
    }

    /// The processes that answer, so many of them: whoever has answered stands still until all have.
    #[track_caller]
    pub fn workers(&self, count: usize) -> Vec<u32> {
        let mut asked: Vec<Stopped> = Vec::new();
        while asked.len() < count {
            let (_, answer) = self.get("/pid").expect("somebody answers");
            let pid = answer.split('<').next().unwrap().rsplit(' ').next().unwrap();
            asked.push(Stopped::new(pid.parse().unwrap()));
        }
        asked.iter().map(|stopped| stopped.0).collect()
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// As a terminal does: to everybody in it.
    pub fn signal_group(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([&format!("-{name}"), "--", &group]).stderr(Stdio::null()).status();
    }

    /// How it ended.
    #[track_caller]
    pub fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the supervisor ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal("TERM");
            let until = Instant::now() + DEADLINE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A process that stands still until this is dropped: the system gives its work to others.
pub struct Stopped(pub u32);

impl Stopped {
    #[track_caller]
    pub fn new(pid: u32) -> Stopped {
        signal(pid, "STOP");
        let stopped = Stopped(pid);
        eventually("all its threads stand still", || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
            let mut stats = tasks.map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default());
            stats.all(|stat| stat.contains(") T "))
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// A connection that is kept.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(port: u16) -> std::io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    /// Status and body; an error unless both came whole.
    pub fn get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        self.send(path)?;
        self.answer()
    }

    pub fn send(&mut self, path: &str) -> std::io::Result<()> {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n")
    }

    pub fn answer(&mut self) -> std::io::Result<(u16, String)> {
        let bad = || std::io::Error::other("no whole answer");
        let (mut status, mut length, mut line) = (0, None, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(bad());
            }
            if status == 0 {
                status = line.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().ok();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length.ok_or_else(bad)?];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// How often a tab has asked for its page.
static TABS: AtomicUsize = AtomicUsize::new(0);

pub fn app(code: &str, environ: &mut Environ<'_>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
    match &*environ.path() {
        b"/slow" => std::thread::sleep(Duration::from_secs(2)),
        b"/exit3" => std::process::exit(3),
        b"/die" => std::process::abort(),
        b"/stop" => environ.shutdown_server(),
        b"/environ" => {
            start.start("200 OK", &[("Content-Type", "text/plain")])?;
            let truths = ["wsgi.multithread", "wsgi.multiprocess"].map(|key| environ.text(key).into_owned());
            return Ok(Body::from(truths.join(" ")));
        }
        b"/tab" => {
            TABS.fetch_add(1, SeqCst);
        }
        b"/tabs" => {
            start.start("200 OK", &[("Content-Type", "text/plain")])?;
            return Ok(Body::from(format!("{code} {} {}", std::process::id(), TABS.load(SeqCst))));
        }
        _ => {}
    }
    start.start("200 OK", &[("Content-Type", "text/html")])?;
    Ok(Body::from(format!("{code} {}", std::process::id())))
}

/// No test by itself: what a [`Program`] runs.
#[test]
#[ignore = "is started by other tests"]
fn runs() {
    let Some(folder) = std::env::var_os("AMBOSS_TEST_FOLDER").map(PathBuf::from) else { return };
    let set = |name| std::env::var_os(name).is_some();
    let mut options = RunOptions::default();
    options.extra_files = vec![folder.join("code")];
    options.workers = std::env::var("AMBOSS_TEST_WORKERS").unwrap().parse().unwrap();
    let supervised = set("AMBOSS_TEST_SUPERVISED");
    options.use_reloader = options.workers == 0 && !supervised;
    options.live_reload = set("AMBOSS_TEST_LIVE");
    if set("AMBOSS_TEST_ERROR_PAGE") {
        options.on_load_failure = OnLoadFailure::ErrorPage;
    }
    if set("AMBOSS_TEST_STAT") {
        options.reloader_type = ReloaderType::Stat;
        options.reloader_interval = Some(Duration::from_millis(50));
    }
    if set("AMBOSS_TEST_HOST") {
        ends(crate::host::run(&folder, options, supervised));
    }
    let code = std::fs::read_to_string(folder.join("code")).unwrap();
    // Of the page that stands in for broken code, nothing is asked that the code could spoil.
    if amboss::is_running_from_reloader() && code.starts_with("bad") && !set("AMBOSS_ERROR_PAGE") {
        eprintln!("this code <can't> start");
        std::process::exit(1);
    }
    let app = move |environ: &mut Environ<'_>, start: &mut dyn StartResponse| app(&code, environ, start);
    ends(run_simple("127.0.0.1", 0, app, options));
}

fn ends(result: Result<(), RunError>) -> ! {
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => match error.kind() {
            RunErrorKind::Exit(code) => std::process::exit(*code),
            _ => panic!("{error}"),
        },
    }
}
