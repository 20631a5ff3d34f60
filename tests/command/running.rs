//! A command that runs under a supervisor, in a directory and a process group of its own, and whose output is collected.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{amboss, get, holds_in_time, wait_until};

/// A directory that is removed at the end of the test.
pub struct TestDir(pub PathBuf, #[allow(dead_code, reason = "removes the directory when dropped")] TempDir);

impl TestDir {
    pub fn new() -> TestDir {
        let dir = tempfile::tempdir().expect("a directory can be created");
        TestDir(dir.path().canonicalize().expect("the directory exists"), dir)
    }

    pub fn save(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("the path has a parent")).expect("the directory can be created");
        // The rename makes sure that no reader sees half of the file.
        let beside = self.0.join(format!("{name}~"));
        std::fs::write(&beside, content).expect("the file can be written");
        std::fs::rename(beside, path).expect("the file can be renamed");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// Returns the command, to be run in this directory.
    pub fn amboss(&self, arguments: &[&str]) -> Command {
        let mut command = amboss(arguments);
        command.current_dir(&self.0).env("XDG_CACHE_HOME", &self.0).process_group(0);
        // The projects of the tests have target directories of their own.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
            command.env_remove(name);
        }
        command.env("CARGO_NET_OFFLINE", "true");
        command
    }
}

/// A running command whose output is collected; ended with its children when dropped.
pub struct Running {
    child: Child,
    lines: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::null()).spawn().expect("the command starts");
        let lines = Arc::new(Mutex::new(String::new()));
        let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>);
        let mut readers = Vec::new();
        for pipe in [out, err].into_iter().flatten() {
            let kept = lines.clone();
            readers.push(std::thread::spawn(move || {
                let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
                while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
                    kept.lock().expect("no reader panics").push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }));
        }
        let running = Running { child, lines, readers };
        wait_until("the banner", || running.output().contains("Press CTRL+C to quit\n"));
        running
    }

    /// Returns the output so far.
    pub fn output(&self) -> String {
        self.lines.lock().expect("no reader panics").clone()
    }

    pub fn port(&self) -> u16 {
        let printed = self.output();
        let port = printed.split("://127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {printed}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.pid().to_string(), name);
    }

    /// Signals the whole process group, as a terminal does.
    pub fn signal_group(&self, name: &str) {
        signal(&format!("-{}", self.pid()), name);
    }

    /// Whether any process of the command's group is left.
    pub fn has_processes(&self) -> bool {
        let group = self.pid().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return false };
        processes.flatten().filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok()).any(
            |stat| {
                let mut words = stat.rsplit(") ").next().unwrap_or_default().split(' ');
                words.next().is_some_and(|state| state != "Z") && words.nth(1) == Some(&group)
            },
        )
    }

    /// Waits until the command and all its processes have closed their output; returns the exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the command ends", || {
            status = self.child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        wait_until("no process holds the output open", || {
            self.readers.iter().all(std::thread::JoinHandle::is_finished)
        });
        status.and_then(|status| status.code())
    }

    /// Sends requests until a response contains this text, and returns that response.
    #[track_caller]
    pub fn wait_for_response(&self, text: &str) -> String {
        let (port, mut response) = (self.port(), String::new());
        let found = holds_in_time(|| {
            response = try_get(port, "");
            response.contains(text)
        });
        assert!(found, "no response has {text:?}, the last is {response}\n{}", self.output());
        response
    }

    /// Waits until the output contains this text.
    #[track_caller]
    pub fn wait_for_output(&self, text: &str) {
        let found = holds_in_time(|| self.output().contains(text));
        assert!(found, "{text:?} is not in the output: {}", self.output());
    }
}

/// Returns a response, or an empty string: a program that is stopped by a signal may drop a request.
pub fn try_get(port: u16, fields: &str) -> String {
    std::panic::catch_unwind(|| get(port, fields)).unwrap_or_default()
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal("QUIT");
            let until = Instant::now() + Duration::from_secs(10);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(target: &str, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), "--", target]).stderr(Stdio::null()).status();
}

/// Whether a program is installed. Prints a note if it is not.
pub fn is_installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err() {
        println!("skipped: {program} is not installed");
    }
    version.is_ok()
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
