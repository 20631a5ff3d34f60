//! The `amboss` command: reads the command line, makes the server, and stops it when told to.

mod cli;
#[cfg(feature = "tls")]
mod tls;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use amboss::{
    banner, make_run_server, make_server_from_systemd, RunError, RunOptions, Server, ShutdownHandle, TestApp,
};

fn main() -> ExitCode {
    let cli = cli::Cli::read();
    #[cfg(feature = "tls")]
    if let Some(cli::Command::Devcert(devcert)) = &cli.command {
        return devcert.run();
    }
    let options = match cli.options() {
        Ok(options) => options,
        Err(sentence) => cli::refuse(&sentence),
    };
    let fingerprint = options.fingerprint();
    let mut server = match make(&cli, options) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("amboss: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = stop_on_signals(server.shutdown_handle(), cli.is_quiet()) {
        eprintln!("amboss: can't watch for CTRL+C: {error}");
        return ExitCode::FAILURE;
    }
    if !cli.is_quiet() {
        eprint!("{}", banner(&server, fingerprint.as_deref()));
    }
    match server.serve_forever() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("amboss: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(cli: &cli::Cli, options: RunOptions) -> Result<Server, RunError> {
    let app = TestApp::new(&options.settings, &cli.concurrency());
    if cli.is_default_address() {
        let (concurrency, settings) = options.clone().resolve()?;
        if let Some(server) = make_server_from_systemd(app.clone(), concurrency, settings)? {
            return Ok(server);
        }
    }
    make_run_server(&cli.addresses(), app, options)
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
