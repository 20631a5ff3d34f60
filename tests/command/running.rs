//! A command that runs under a supervisor, in a directory and a process group of its own, and whose output is collected.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use amboss_testkit::{group_is_alive, poll_until, OnDrop, Process, TempDir};

use crate::{amboss, try_get};

/// How long a step may take that includes a build. On a busy machine, a build takes longer than any other step.
const BUILD_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates a directory for one test.
pub fn test_dir() -> TempDir {
    TempDir::new("command")
}

/// Returns the content of a file in the directory, or an empty string if there is no such file.
pub fn read(dir: &TempDir, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

/// Returns the command, to be run in this directory.
pub fn amboss_in(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = amboss(arguments);
    command.current_dir(dir.path()).env("XDG_CACHE_HOME", dir.path()).process_group(0);
    // The projects of the tests have target directories of their own.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
        command.env_remove(name);
    }
    command.env("CARGO_NET_OFFLINE", "true");
    command
}

/// A running command whose output is collected; ended with its children when dropped.
pub struct Running(Process);

impl Running {
    /// Starts the command, and waits for its banner.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        let mut process = Process::spawn_with(command.stdin(Stdio::null()), OnDrop::Signal("QUIT"));
        process.wait_for_output_within(BUILD_TIMEOUT, "prints its banner", |output| {
            output.contains("Press CTRL+C to quit\n").then_some(())
        });
        Running(process)
    }

    /// Starts the command without waiting for anything.
    pub fn spawn(command: &mut Command) -> Running {
        Running(Process::spawn_with(command.stdin(Stdio::null()), OnDrop::Signal("QUIT")))
    }

    /// Returns the output on stdout so far.
    pub fn stdout(&self) -> String {
        self.0.stdout()
    }

    /// Returns the output on stderr so far.
    pub fn stderr(&self) -> String {
        self.0.stderr()
    }

    /// Returns the output so far.
    pub fn output(&self) -> String {
        self.0.output()
    }

    /// Returns the port of the first URL in the banner.
    pub fn port(&self) -> u16 {
        let printed = self.output();
        let port = printed.split("://127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {printed}"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, name: &str) {
        self.0.signal(name);
    }

    /// Returns the process ids of the children that run.
    pub fn workers(&self) -> Vec<u32> {
        let children = amboss_testkit::child_processes(self.pid()).into_iter();
        children.filter(|(_, state)| *state != 'Z').map(|(pid, _)| pid).collect()
    }

    /// Signals the whole process group, as a terminal does.
    pub fn signal_group(&self, name: &str) {
        self.0.signal_group(name);
    }

    /// Whether any process of the command's group is left.
    pub fn has_processes(&self) -> bool {
        group_is_alive(self.pid())
    }

    /// Waits until the command and all its processes have closed their output; returns the exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        self.0.wait_with_output().code()
    }

    /// Sends requests until a response contains this text, and returns that response. A program that is stopped by a
    /// signal may drop a request.
    #[track_caller]
    pub fn wait_for_response(&self, text: &str) -> String {
        let port = self.port();
        let poll = || try_get(port, "").ok().filter(|response| response.contains(text));
        poll_until(BUILD_TIMEOUT, poll, || format!("waiting for {text:?} in a response:\n{}", self.output()))
    }

    /// Waits until the output contains this text.
    #[track_caller]
    pub fn wait_for_output(&self, text: &str) {
        let poll = || self.output().contains(text).then_some(());
        poll_until(BUILD_TIMEOUT, poll, || format!("waiting for {text:?} in the output:\n{}", self.output()));
    }
}
