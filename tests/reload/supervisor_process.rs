//! A program under reload in a process of its own: starting it, requesting from it, changing its code, ending it.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use amboss_testkit::{
    poll_until, rerun, wait_for, wait_until, Client, OnDrop, PausedProcess, Process, Response, TempDir, DEADLINE,
};

/// The test that a [`SupervisorProcess`] runs.
pub const FIXTURE: &str = "fixtures::run";

/// A supervisor with its children, in a folder of its own. Dropping the value sends SIGTERM to the supervisor.
pub struct SupervisorProcess {
    pub port: u16,
    process: Process,
    folder: TempDir,
}

/// The options of a [`SupervisorProcess`], which it gets in its environment.
#[derive(Default)]
pub struct TestOptions {
    pub error_page: bool,
    pub workers: usize,
    pub stat: bool,
    pub live: bool,
    /// Whether the application is made only in the processes that serve.
    pub loader: bool,
    pub supervised: bool,
    /// Whether the application is made once, and the workers are forked.
    pub forked: bool,
    /// The initial code, unless it is "good 0".
    pub code: Option<&'static str>,
}

impl SupervisorProcess {
    /// Starts the program, and waits until its banner names the port.
    pub fn start(name: &str, options: TestOptions) -> SupervisorProcess {
        let folder = TempDir::new(&format!("reload-{name}"));
        std::fs::write(folder.join("code"), options.code.unwrap_or("good 0")).unwrap();
        // With an older time: the supervisor cannot know which content of a file that was just written a process has
        // read.
        let code = std::fs::File::options().write(true).open(folder.join("code")).unwrap();
        code.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        let mut command = rerun(FIXTURE);
        command
            .current_dir(folder.path())
            .process_group(0)
            .env("AMBOSS_TEST_FOLDER", folder.path())
            .env("AMBOSS_TEST_WORKERS", options.workers.to_string())
            .stdin(Stdio::null());
        for (variable, set) in [
            ("AMBOSS_TEST_ERROR_PAGE", options.error_page),
            ("AMBOSS_TEST_STAT", options.stat),
            ("AMBOSS_TEST_LIVE", options.live),
            ("AMBOSS_TEST_LOADER", options.loader || options.forked),
            ("AMBOSS_TEST_FORKED", options.forked),
            ("AMBOSS_TEST_SUPERVISED", options.supervised),
        ] {
            if set {
                command.env(variable, "1");
            }
        }
        let mut process = Process::spawn_with(&mut command, OnDrop::Signal("TERM"));
        let port = process.wait_for_output("names its port", |output| {
            output.split("127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()?.parse().ok())
        });
        SupervisorProcess { port, process, folder }
    }

    /// Returns what the supervisor and its children have printed to standard error.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits until standard error has this text.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) {
        let poll = || self.stderr().contains(text).then_some(());
        poll_until(DEADLINE, poll, || format!("waiting until {text:?} is printed; standard error:\n{}", self.stderr()));
    }

    /// Saves new code.
    pub fn save(&self, code: &str) {
        self.write("code", code);
    }

    /// Writes a file in the supervisor's folder.
    pub fn write(&self, name: &str, text: &str) {
        self.folder.write(name, text);
    }

    /// Opens a connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        try_connect(self.port).unwrap()
    }

    /// Sends a request on a new connection. `None` unless the whole response arrives.
    pub fn try_get(&self, path: &str) -> Option<Response> {
        try_connect(self.port).ok()?.try_get(path).ok()
    }

    /// Sends a request on a new connection, and returns the whole response.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        try_connect(self.port).unwrap().try_get(path).unwrap()
    }

    /// Waits until the error page is served, and returns it. The old process may still respond for a moment.
    #[track_caller]
    pub fn wait_for_error_page(&self, path: &str) -> String {
        wait_for("the error page is served", || {
            self.try_get(path).filter(|response| response.status == 503).map(|page| page.text())
        })
    }

    /// Waits until this code is served, and returns the id of the process that responded.
    #[track_caller]
    pub fn wait_for_code(&self, code: &str) -> u32 {
        let poll = || Some(self.try_get("/")?.text()).filter(|text| text.starts_with(code));
        let context = || format!("waiting until {code:?} is served; standard error:\n{}", self.stderr());
        process_id(&poll_until(DEADLINE, poll, context)).expect("the response ends with a process id")
    }

    /// Returns the ids of this number of processes that serve. A process that has responded is paused until all have
    /// responded.
    #[track_caller]
    pub fn worker_pids(&self, count: usize) -> Vec<u32> {
        let mut paused: Vec<PausedProcess> = Vec::new();
        while paused.len() < count {
            paused.push(PausedProcess::new(process_id(&self.get("/pid").text()).unwrap()));
        }
        paused.iter().map(PausedProcess::id).collect()
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Sends a signal to the supervisor and its children, as a terminal does.
    pub fn signal_group(&self, name: &str) {
        self.process.signal_group(name);
    }

    /// Waits until the supervisor has exited, and returns its exit code; `None` when a signal has killed it.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        self.process.wait().code()
    }

    /// Waits until the port is free.
    #[track_caller]
    pub fn wait_for_free_port(&self) {
        wait_until("the port is free", || std::net::TcpListener::bind(("127.0.0.1", self.port)).is_ok());
    }
}

/// Returns the process id in a response: the last word of its text, before a script that `live` may have added.
pub fn process_id(text: &str) -> Option<u32> {
    text.split('<').next()?.rsplit(' ').next()?.parse().ok()
}

/// Connects to a port of this machine. Requests accept HTML, as those of a browser do.
pub fn try_connect(port: u16) -> std::io::Result<Client> {
    Ok(Client::try_connect(("127.0.0.1", port))?.with_fields("Accept: text/html\r\n"))
}
