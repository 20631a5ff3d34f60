//! A child process that cannot outlive its test, and what it prints.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{poll_until, wait_for, wait_until, DEADLINE};

/// What a [`Process`] that is still running is asked to do when it is dropped. A process that does not exit within
/// [`DEADLINE`] after that is killed, and the test fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrop {
    /// The process is killed at once.
    Kill,
    /// The standard input of the process is closed, which the process takes as a request to exit.
    CloseStdin,
    /// The process gets this signal, for example "TERM".
    #[cfg(unix)]
    Signal(&'static str),
}

/// A running child process. Dropping the value ends the process in the way that [`OnDrop`] says.
///
/// Threads collect the standard output and standard error of the process line by line, so that it never blocks on a
/// full pipe. A line is visible only when its line end has arrived.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Collector,
    stderr: Collector,
    on_drop: OnDrop,
}

impl Process {
    /// Starts the command with its output piped to this process; standard input is unchanged. The process is killed
    /// when it is dropped.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Process {
        Process::spawn_with(command, OnDrop::Kill)
    }

    /// Starts the command as [`spawn`](Process::spawn) does, and ends it in the given way. [`OnDrop::CloseStdin`] pipes
    /// its standard input.
    #[track_caller]
    pub fn spawn_with(command: &mut Command, on_drop: OnDrop) -> Process {
        if on_drop == OnDrop::CloseStdin {
            command.stdin(Stdio::piped());
        }
        let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        let stdin = child.stdin.take();
        let stdout = Collector::start(child.stdout.take().unwrap());
        let stderr = Collector::start(child.stderr.take().unwrap());
        Process { child, stdin, stdout, stderr, on_drop }
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the process has written to standard output.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Returns what the process has written to standard error.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Returns what the process has written to standard output, followed by what it has written to standard error.
    pub fn output(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Waits until its [`output`](Process::output) contains `text`.
    #[track_caller]
    pub fn wait_for_text(&mut self, text: &str) {
        self.wait_for_output(&format!("prints {text:?}"), |output| output.contains(text).then_some(()));
    }

    /// Waits until `find` finds a value in its [`output`](Process::output), at most for [`DEADLINE`], and returns it.
    ///
    /// Panics with the output at the deadline, or as soon as the process exits. `what` completes the sentence "the
    /// process …".
    #[track_caller]
    pub fn wait_for_output<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for_output_within(DEADLINE, what, find)
    }

    /// Waits as [`wait_for_output`](Process::wait_for_output) does, at most for `timeout`.
    #[track_caller]
    pub fn wait_for_output_within<T>(&mut self, timeout: Duration, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let Process { child, stdout, stderr, .. } = self;
        let output = || stdout.text() + &stderr.text();
        let poll = || {
            let status = child.try_wait().unwrap();
            if status.is_some() {
                stdout.wait(Duration::from_secs(1));
                stderr.wait(Duration::from_secs(1));
            }
            find(&output()).map(Ok).or(status.map(Err))
        };
        match poll_until(timeout, poll, || format!("waiting until the process {what}; it has printed:\n{}", output())) {
            Ok(value) => value,
            Err(status) => panic!("the process exited ({status}) before it {what}; it has printed:\n{}", output()),
        }
    }

    /// Closes its standard input, if that is piped.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends the process a signal by name, for example "TERM".
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        crate::send_signal(self.id(), name);
    }

    /// Sends a signal to its process group, as a terminal does. The command has to start the process in a group of its
    /// own.
    #[cfg(unix)]
    pub fn signal_group(&self, name: &str) {
        crate::send_signal_to_group(self.id(), name);
    }

    /// Returns the exit status if the process has exited.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until the process has exited, and returns its exit status. Some output may not have arrived yet.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the process has exited", || self.child.try_wait().unwrap())
    }

    /// Waits until the process has exited and all of its output has arrived, including that of child processes that are
    /// still running.
    #[track_caller]
    pub fn wait_with_output(&mut self) -> ExitStatus {
        let status = self.wait();
        wait_until("all processes have closed the output", || self.stdout.is_closed() && self.stderr.is_closed());
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.close_stdin();
        let has_exited = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if self.on_drop != OnDrop::Kill && !has_exited(&mut self.child) {
            #[cfg(unix)]
            if let OnDrop::Signal(name) = self.on_drop {
                self.signal(name);
            }
            let deadline = std::time::Instant::now() + DEADLINE;
            while !has_exited(&mut self.child) {
                if std::time::Instant::now() > deadline {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    if !std::thread::panicking() {
                        panic!("the process does not exit ({:?}); it has printed:\n{}", self.on_drop, self.output());
                    }
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A thread that reads a pipe to its end, and the whole lines that it has read.
struct Collector {
    text: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Collector {
    fn start(pipe: impl Read + Send + 'static) -> Collector {
        let text = Arc::new(Mutex::new(String::new()));
        let collected = text.clone();
        let thread = std::thread::spawn(move || {
            let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
            while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
                lock(&collected).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Collector { text, thread }
    }

    fn text(&self) -> String {
        lock(&self.text).clone()
    }

    fn is_closed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the pipe, which a process left behind may hold open: at most for `timeout`.
    fn wait(&self, timeout: Duration) {
        let deadline = std::time::Instant::now() + timeout;
        while !self.is_closed() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::{is_alive, rerun};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_collected_and_the_exit_status_returned() {
        let mut process = Process::spawn(&mut shell("echo port 17; echo sorry >&2; exit 3"));
        let port: u16 = process.wait_for_output("names its port", |output| {
            output.lines().find_map(|line| line.strip_prefix("port ")?.parse().ok())
        });
        assert_eq!(port, 17);
        assert_eq!(process.wait_with_output().code(), Some(3));
        assert_eq!((process.stdout().as_str(), process.stderr().as_str()), ("port 17\n", "sorry\n"));
    }

    #[test]
    #[should_panic(expected = "before it prints \"never\"; it has printed:\nsomething else")]
    fn an_early_exit_fails_at_once_and_shows_the_output() {
        Process::spawn(&mut shell("echo something else")).wait_for_text("never");
    }

    #[test]
    fn a_dropped_process_has_exited() {
        for (script, on_drop) in [
            ("exec sleep 1000", OnDrop::Kill),
            ("exec sleep 1000", OnDrop::Signal("TERM")),
            ("exec cat", OnDrop::CloseStdin),
        ] {
            let process = Process::spawn_with(&mut shell(script), on_drop);
            let id = process.id();
            assert!(is_alive(id));
            drop(process);
            assert!(!is_alive(id), "{script} {on_drop:?}");
        }
    }

    #[test]
    fn the_test_binary_can_be_started_again() {
        let mut process = Process::spawn(&mut rerun("process::tests::fixture"));
        assert!(process.wait_with_output().success());
        assert!(process.stdout().contains("the fixture runs"), "{}", process.output());
    }

    #[test]
    #[ignore = "other tests start it"]
    fn fixture() {
        println!("the fixture runs");
    }
}
