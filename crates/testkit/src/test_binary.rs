//! The running test binary, started again as a fixture: a server or a supervisor in a process of its own.

use std::process::Command;

/// Returns the arguments with which a test binary runs one test that is marked `#[ignore]`, and nothing else. `test` is
/// its full name, such as `server_process::serve`.
pub fn rerun_arguments(test: &str) -> [&str; 5] {
    ["--ignored", "--exact", "--nocapture", "--test-threads=1", test]
}

/// Returns a command that runs one ignored test of this binary in a new process. Environment variables tell it what to
/// do.
pub fn rerun(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(rerun_arguments(test));
    command
}
