//! The `amboss` binary. The command line itself is in [`amboss::cli`].

mod signals;

use std::process::ExitCode;

use amboss::cli::{self, AppConfig, Runner, Signals};
use amboss::{RunError, Server, Worker};

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os(), &mut Binary))
}

/// The runner of the binary, which embeds no Python: to serve a Python application, this process executes an
/// interpreter in its place.
struct Binary;

impl Runner for Binary {
    fn serve(&mut self, _: Option<&str>, config: AppConfig) -> Result<(), RunError> {
        cli::exec_python(None, &config.arguments)
    }

    fn started(&mut self, server: &Server, worker: &Worker, signals: Signals) -> Result<(), RunError> {
        signals::install(server.shutdown_handle(), worker, signals)
            .map_err(|error| std::io::Error::other(format!("can't install signal handlers: {error}")).into())
    }
}
