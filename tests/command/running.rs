//! A command that is watched while it runs: under a supervisor, in a folder and a process group of its own.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::{amboss, get};

/// Nothing here takes this long unless it hangs; a build on a busy machine takes the most.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder that is removed with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("amboss-command-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("it can be made");
        Folder(path.canonicalize().expect("it is there"))
    }

    pub fn save(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("it can be made");
        // At once: nobody sees half of it.
        let beside = self.0.join(format!("{name}~"));
        std::fs::write(&beside, content).expect("it can be written");
        std::fs::rename(beside, path).expect("it can be moved");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// The command, to be run here.
    pub fn amboss(&self, arguments: &[&str]) -> Command {
        let mut command = amboss(arguments);
        command.current_dir(&self.0).env("XDG_CACHE_HOME", &self.0).process_group(0);
        // The projects here have target folders of their own.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
            command.env_remove(name);
        }
        command.env("CARGO_NET_OFFLINE", "true");
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A command that prints and is listened to; ended with its children when dropped.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::null()).spawn().expect("the command starts");
        let said = Arc::new(Mutex::new(String::new()));
        let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
        let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>);
        let mut readers = Vec::new();
        for pipe in [out, err].into_iter().flatten() {
            let kept = said.clone();
            readers.push(std::thread::spawn(move || {
                let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
                while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
                    kept.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }));
        }
        let running = Running { child, said, readers };
        eventually("the banner", || running.said().contains("Press CTRL+C to quit\n"));
        running
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    pub fn port(&self) -> u16 {
        let said = self.said();
        let port = said.split("://127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {said}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.pid().to_string(), name);
    }

    /// As a terminal does: to everybody in it.
    pub fn signal_group(&self, name: &str) {
        signal(&format!("-{}", self.pid()), name);
    }

    /// Is any process of its group left?
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

    /// How it ended. All that it and its processes had to say has been said then.
    #[track_caller]
    pub fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        eventually("nobody writes any more", || self.readers.iter().all(std::thread::JoinHandle::is_finished));
        status.and_then(|status| status.code())
    }

    /// What answers with this text, sooner or later.
    #[track_caller]
    pub fn waits_for(&self, text: &str) -> String {
        let (port, until) = (self.port(), Instant::now() + DEADLINE);
        loop {
            let answer = try_get(port, "");
            if answer.contains(text) {
                return answer;
            }
            assert!(Instant::now() < until, "{text:?} never comes, but {answer}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn waits_to_say(&self, text: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.said().contains(text) {
            assert!(Instant::now() < until, "{text:?} is not said: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// An answer, or nothing: a program that is told to go by a signal may go with a request.
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

/// Is there such a program? Says so aloud when not.
pub fn is_there(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err() {
        println!("skipped: there is no {program} here");
    }
    version.is_ok()
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
