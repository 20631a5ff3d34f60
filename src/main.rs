//! The `amboss` command as a program of its own; what it does stands in [`amboss::command`].

mod signals;

use std::process::ExitCode;

use amboss::command::{self, Runner, Signals, Told};
use amboss::{RunError, Server, Worker};

fn main() -> ExitCode {
    ExitCode::from(command::run(std::env::args_os(), &mut Binary))
}

/// Has no Python in it: an interpreter takes its place when one is needed.
struct Binary;

impl Runner for Binary {
    fn serve(&mut self, _: &str, told: Told) -> Result<(), RunError> {
        command::become_python(None, &told.arguments)
    }

    fn started(&mut self, server: &Server, worker: &Worker, signals: Signals) -> Result<(), RunError> {
        signals::follow(server.shutdown_handle(), worker, signals)
            .map_err(|error| std::io::Error::other(format!("can't listen to signals: {error}")).into())
    }
}
