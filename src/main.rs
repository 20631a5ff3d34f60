//! The `amboss` command: reads the command line, serves, and stops when told to.

mod cli;
#[cfg(all(unix, feature = "reload"))]
#[path = "reload_args.rs"]
mod reload;
#[cfg(feature = "tls")]
mod tls;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use amboss::{run_on, RunError, ShutdownHandle, TestApp};

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
    let served = run_on(&cli.addresses(), app, options, |server| {
        stop_on_signals(server.shutdown_handle(), quiet)
            .map_err(|error| std::io::Error::other(format!("can't watch for CTRL+C: {error}")).into())
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

/// CTRL+C and SIGTERM: the first stops gracefully, the second at once.
fn stop_on_signals(handle: ShutdownHandle, quiet: bool) -> Result<(), ctrlc::Error> {
    /// A terminal sends CTRL+C to the processes of running requests, too, and those report it here: what comes within
    /// this time is one signal.
    const ONE: Duration = Duration::from_millis(300);
    const STOPPED_BY_SIGINT: i32 = 130;
    let first = Mutex::new(None::<Instant>);
    ctrlc::set_handler(move || {
        let mut first = first.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match *first {
            None => {
                *first = Some(Instant::now());
                if !quiet {
                    eprintln!("Stopping when the running requests are done; press CTRL+C again to stop at once.");
                }
                handle.shutdown();
            }
            Some(when) if when.elapsed() > ONE => std::process::exit(STOPPED_BY_SIGINT),
            Some(_) => {}
        }
    })
}
