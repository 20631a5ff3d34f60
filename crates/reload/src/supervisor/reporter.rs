//! Turns the events of the state machine into messages for people and calls of the event handler.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use super::events::{EventHandler, WorkerDeath, WorkerFailure};
use super::options::SupervisorOptions;
use super::state::FailureReason;

pub(super) struct Reporter {
    pub(super) handler: Box<dyn EventHandler>,
    options: SupervisorOptions,
}

impl Reporter {
    pub(super) fn new(handler: Box<dyn EventHandler>, options: SupervisorOptions) -> Reporter {
        Reporter { handler, options }
    }

    pub(super) fn log(&mut self, line: &str) {
        self.handler.log(line);
    }

    pub(super) fn files(&mut self, files: Vec<PathBuf>, started: SystemTime) {
        self.handler.files(files, started);
    }

    pub(super) fn failed(
        &mut self,
        generation: u64,
        output: Vec<u8>,
        reason: FailureReason,
        serving: bool,
        retry_in: Option<Duration>,
    ) {
        let (reason, status): (String, Option<ExitStatus>) = match reason {
            FailureReason::NotStarted(error) => (format!("could not be started: {error}"), None),
            FailureReason::Exited(status) => (format!("ended before it was ready ({status})"), Some(status)),
            FailureReason::TooSlow => {
                (format!("was not ready within {}", format_duration(self.options.start_timeout)), None)
            }
        };
        let next = match (serving, retry_in) {
            (true, None) => "; the old one keeps serving.".to_owned(),
            (false, None) => "; waiting for a change.".to_owned(),
            (_, Some(delay)) => format!("; trying again in {}.", format_duration(delay)),
        };
        self.log(&format!("The new process {reason}{next}"));
        let reason = format!("The new process {reason}.");
        self.handler.failed(&WorkerFailure { generation, output, status, reason, serving });
    }

    pub(super) fn died(&mut self, death: &WorkerDeath) {
        let WorkerDeath { pid, status, consecutive_failures, restart_in, .. } = death;
        let delay = format_duration(*restart_in);
        if *consecutive_failures <= 2 {
            self.log(&format!("The process {pid} died ({status}); starting another in {delay}."));
        } else {
            let output = last_line(&death.output).map_or_else(String::new, |line| format!(": {line}"));
            self.log(&format!(
                "The process {pid} died ({status}{output}); {consecutive_failures} in a row were ready for less \
                 than {}. Starting another in {delay}.",
                format_duration(self.options.healthy_after)
            ));
        }
        self.handler.died(death);
    }

    pub(super) fn too_many_restarts(&mut self, restart_in: Duration) {
        self.log(&format!(
            "The program asked for a restart (exit code 3) more than {} times within {}; starting it again in {}.",
            self.options.restart_limit,
            format_duration(self.options.restart_limit_interval),
            format_duration(restart_in)
        ));
    }

    pub(super) fn drain_timeout(&mut self, pid: u32) {
        let timeout = format_duration(self.options.drain_timeout);
        self.log(&format!("The process {pid} has not finished within {timeout}; terminating it."));
    }
}

/// The last line that is not empty, without control characters and cut to 200 characters.
fn last_line(output: &[u8]) -> Option<String> {
    const MAX_LENGTH: usize = 200;
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|letter| !letter.is_control()).take(MAX_LENGTH).collect())
}

fn format_duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
}
