//! The `amboss` command: reads the command line, serves, and stops when told to.

mod cli;
mod signals;

use std::process::ExitCode;

use amboss::{run_on, RunError, TestApp};

fn main() -> ExitCode {
    #[cfg(all(unix, feature = "reload"))]
    if let Some(program) = cli::shimmed() {
        eprintln!("amboss: {}", amboss::exec_as_child(program));
        return ExitCode::FAILURE;
    }
    let cli = cli::Cli::read();
    #[cfg(feature = "tls")]
    if let Some(cli::Command::Devcert(devcert)) = &cli.command {
        return devcert.run();
    }
    let options = match cli.options() {
        Ok(options) => options,
        Err(sentence) => cli::refuse(&sentence),
    };
    let app = TestApp::new(&options.settings, &cli.concurrency());
    let quiet = cli.is_quiet();
    let reopen_logs = options.reopen_logs.clone();
    let served = run_on(&cli.addresses(), app, options, |server| {
        signals::follow(server.shutdown_handle(), reopen_logs, quiet)
            .map_err(|error| std::io::Error::other(format!("can't listen to signals: {error}")).into())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Exit(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error @ (RunError::Options(_) | RunError::Reload(_))) => cli::refuse(&error.to_string()),
        Err(error) => {
            eprintln!("amboss: {error}");
            ExitCode::FAILURE
        }
    }
}
