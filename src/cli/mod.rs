//! The `amboss` command line. Two programs share it: the `amboss` binary, and the command that amboss's Python package
//! installs. Each of them implements [`Runner`], which holds what differs. Not a stable interface.
//!
//! [`run`] parses the arguments (`args`), turns them into [`RunOptions`](crate::RunOptions), and then does one of the
//! following:
//!
//! - serves Python applications: through [`Runner::serve`], or by replacing this process with a Python interpreter
//!   (`exec_python`, which asks `find_python` for one);
//! - serves a folder, the built-in development application or another program (`own_app_loader`);
//! - creates a certificate (`devcert`);
//! - runs as a child of a supervisor under one of two hidden subcommands (`respawn`).

mod args;
#[cfg(feature = "tls")]
mod devcert;
mod exec_python;
mod find_python;
mod hang_up;
mod log_file;
mod own_app_loader;
mod respawn;
mod runner;

use std::ffi::OsString;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::CommandFactory;

use crate::toolkit::files::Folder;
use crate::{Application, DevApp, RunError, RunErrorKind, RunOptions, ServerBuilder};
use args::{app, Cli, ServeArgs, Subcommand};
use own_app_loader::OwnAppLoader;

pub use exec_python::exec_python;
pub use hang_up::HangUp;
pub use log_file::ReopenLogs;
pub use runner::{AppConfig, Runner, Signals, WorkerClass};

/// Exit code when the command could not serve.
const FAILED: u8 = 1;

/// Runs the command line and returns the exit code. The first element of `argv` is the command's own name.
pub fn run(argv: impl IntoIterator<Item = OsString>, runner: &mut dyn Runner) -> u8 {
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    if argv.is_empty() {
        argv.push("amboss".into());
    }
    let Cli { subcommand, serve } = match Cli::parse_checked(&argv) {
        Ok(cli) => cli,
        Err(error) => return print(&error),
    };
    match subcommand {
        #[cfg(feature = "tls")]
        Some(Subcommand::Devcert(devcert)) => devcert.run().map_or_else(|message| usage_error(&message), |()| 0),
        #[cfg(all(unix, feature = "reload"))]
        Some(Subcommand::ExecAsChild { argv }) => {
            say!("amboss: {}", crate::exec_as_child(argv));
            FAILED
        }
        Some(Subcommand::ErrorPage(serve)) => match respawn::check_error_page_wanted() {
            Ok(()) => serve_own_app(&serve, None, runner),
            Err(error) => exit_code(Err(error)),
        },
        None if serve.needs_python() => serve_python_apps(&serve, &argv[1..], runner),
        None => serve_own_app(&serve, Some(&argv[1..]), runner),
    }
}

/// Serves a folder, the development application, another program, or the error page. `respawn_args` are the arguments
/// with which a supervisor starts its children; the error page has none, because it is itself a child.
fn serve_own_app(serve: &ServeArgs, respawn_args: Option<&[OsString]>, runner: &mut dyn Runner) -> u8 {
    let mut options = match serve.options() {
        Ok(options) => options,
        Err(message) => return usage_error(&message),
    };
    set_programs(serve, &mut options, runner);
    #[cfg(all(unix, feature = "reload"))]
    let plan = {
        let mut plan = serve.plan();
        if let Some(args) = respawn_args {
            respawn::set_commands(&mut plan, args, runner);
        }
        plan
    };
    #[cfg(not(all(unix, feature = "reload")))]
    let _ = respawn_args;
    let loader = match own_app(serve, &options) {
        Ok(app) => OwnAppLoader::new(app, &options, runner),
        Err(message) => return usage_error(&message),
    };
    let builder = ServerBuilder::with_loader(loader).bind_all(serve.addresses()).options(options);
    #[cfg(all(unix, feature = "reload"))]
    let builder = builder.launch(plan);
    exit_code(builder.run())
}

/// Sets the applications of the hosts that are programs.
fn set_programs(serve: &ServeArgs, options: &mut RunOptions, runner: &dyn Runner) {
    #[cfg(all(unix, feature = "reload"))]
    for (host, argv) in serve.site.programs() {
        let program = crate::host_program::HostProgram::new(&host, argv, respawn::exec_wrapper(runner));
        // Replaces the placeholder.
        if let Some((_, app)) = options.hosts.iter_mut().find(|(known, _)| *known == host) {
            *app = Arc::new(program);
        }
    }
    #[cfg(not(all(unix, feature = "reload")))]
    let _ = (serve, options, runner);
}

/// Returns the command's own application: a folder, or the development application.
///
/// # Errors
/// A message: the folder can't be served.
fn own_app(serve: &ServeArgs, options: &RunOptions) -> Result<Arc<dyn Application>, String> {
    Ok(match serve.folder() {
        Some(folder) => {
            let folder = Folder::with_options(folder, serve.site.folder_options(true));
            Arc::new(folder.map_err(|error| error.to_string())?)
        }
        None => Arc::new(DevApp::new(&options.settings, &serve.concurrency())),
    })
}

/// Serves the Python applications that the command line names, beside the command's own one if APP is none of them.
fn serve_python_apps(serve: &ServeArgs, args: &[OsString], runner: &mut dyn Runner) -> u8 {
    let mut options = match serve.options() {
        Ok(options) => options,
        Err(message) => return usage_error(&message),
    };
    set_programs(serve, &mut options, runner);
    let own_app = match serve.python_target() {
        Some(_) => None,
        None => match own_app(serve, &options) {
            Ok(app) => Some(app),
            Err(message) => return usage_error(&message),
        },
    };
    let arguments = app::without_python(args);
    if let Some(python) = serve.app.python() {
        return exit_code(exec_python(Some(python), &arguments));
    }
    #[cfg(all(unix, feature = "reload"))]
    let plan = {
        let mut plan = serve.plan();
        respawn::set_commands(&mut plan, &arguments, runner);
        plan
    };
    let mut config = AppConfig {
        addresses: serve.addresses(),
        options,
        own_app,
        hosts: serve.site.python_hosts(),
        #[cfg(all(unix, feature = "reload"))]
        plan,
        timeout: None,
        max_requests: None,
        max_requests_jitter: 0,
        worker_class: None,
        worker_connections: None,
        greenlet_conflict: serve.greenlet_conflict(),
        preload: false,
        arguments,
    };
    serve.app.apply(&mut config);
    exit_code(runner.serve(serve.python_target(), config))
}

/// Prints the error of a run, if there is one, and returns the exit code.
fn exit_code(result: Result<(), RunError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => match error.kind() {
            RunErrorKind::Exit(code) => u8::try_from(*code).unwrap_or(FAILED),
            RunErrorKind::Options(_) | RunErrorKind::Reload(_) => usage_error(&error.to_string()),
            _ => {
                say!("amboss: {error}");
                FAILED
            }
        },
    }
}

/// Prints what to change on the command line, and returns exit code 2.
fn usage_error(message: &str) -> u8 {
    print(&Cli::command().error(ErrorKind::ValueValidation, message))
}

/// Prints a clap error and returns its exit code. Help and version are errors too, with exit code 0.
fn print(error: &clap::Error) -> u8 {
    // Writing fails if the reader has closed the pipe; the message is lost then.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(FAILED)
}
