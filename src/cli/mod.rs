//! The `amboss` command line. Two programs share it: the `amboss` binary, and the command that amboss's Python package
//! installs. Each of them implements [`Runner`], which holds what differs. Not a stable interface.
//!
//! [`run`] parses the arguments (`command_line`), resolves the configuration (`crate::config`), turns it into
//! [`RunOptions`](crate::RunOptions), and then does one of the following:
//!
//! - shows the configuration, or checks it;
//! - prints the configuration for that of another server (`crate::ops::migrate`), completions or the manual (`documents`);
//! - serves Python applications: through [`Runner::serve`], or by replacing this process with a Python interpreter
//!   (`exec_python`, which asks `find_python` for one);
//! - serves a folder, the built-in development application or another program (`own_app_loader`);
//! - creates a certificate (`devcert`);
//! - runs as a child of a supervisor under one of two hidden subcommands (`respawn`).

mod command_line;
#[cfg(feature = "tls")]
mod devcert;
mod documents;
mod exec_python;
mod find_python;
mod hang_up;
mod own_app_loader;
mod process;
mod respawn;
mod runner;

use std::borrow::Borrow;
use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use crate::config::layers::Resolved;
use crate::config::values::Config;
use crate::config::{self, target};
use crate::ops;
use crate::{Application, DevApp, RunError, RunErrorKind, RunOptions, ServerBuilder};
use command_line::{Action, Migrate, Serve, Task};
use find_python::find_python;
use own_app_loader::OwnAppLoader;

pub use crate::config::log_file::ReopenLogs;
pub use crate::config::values::WorkerClass;
pub use exec_python::exec_python;
pub use hang_up::HangUp;
pub use runner::{AppConfig, Runner, Signals};

/// The hint for a command line that names nothing to serve.
const TEST_APPLICATION: &str = " * Serving the test application; to serve the application of this directory: amboss .";

/// Exit code when the command could not serve.
const FAILED: u8 = 1;

/// Runs the command line and returns the exit code. The first element of `argv` is the command's own name.
pub fn run(argv: impl IntoIterator<Item = OsString>, runner: &mut dyn Runner) -> u8 {
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    if argv.is_empty() {
        argv.push("amboss".into());
    }
    let (serve, is_error_page) = match command_line::parse(&argv) {
        Err(error) => return print(&error),
        Ok(Task::Serve(serve)) => (serve, false),
        Ok(Task::ErrorPage(serve)) => (serve, true),
        #[cfg(feature = "tls")]
        Ok(Task::Devcert(devcert)) => return devcert.run().map_or_else(|message| config_error(&[message]), |()| 0),
        Ok(Task::Migrate(migrate)) => return print_text(migrated(&migrate)),
        Ok(Task::Completions(shell)) => return print_text(Ok(documents::completions(shell))),
        Ok(Task::Man) => return print_text(Ok(documents::manual())),
        #[cfg(all(unix, feature = "reload"))]
        Ok(Task::ExecAsChild(argv)) => {
            say!("amboss: {}", crate::exec_as_child(argv));
            return FAILED;
        }
    };
    if is_error_page {
        if let Err(error) = respawn::check_error_page_wanted() {
            return exit_code(Err(error));
        }
    }
    let Serve { given, file, isolated, action } = serve;
    let resolved = match config::resolve(given, file.as_deref(), isolated || is_child(), ops::migrate::advice_for_key) {
        Ok(resolved) => resolved,
        Err(messages) => return config_error(&messages),
    };
    #[cfg(not(all(unix, feature = "reload")))]
    if resolved.config.debug {
        say!(" * --debug does not reload code here: that needs Unix, and amboss with the feature reload.");
    }
    if action == Action::Print {
        return print_text(Ok(config::show::print(&resolved)));
    }
    if action == Action::Check {
        for (given, reason) in &resolved.unused {
            say!("amboss: {} has no effect: {reason}", given.spelling());
        }
    }
    if let Some(chosen) = resolved.chosen.as_ref().filter(|_| !resolved.config.is_quiet()) {
        say!(" * {chosen}");
    }
    if let Err(message) = process::prepare(&resolved.config.process, runner) {
        return config_error(&[message]);
    }
    if is_error_page {
        serve_own_app(&resolved, action, None, runner)
    } else if target::needs_python(&resolved.config) {
        serve_python_apps(&resolved, action, runner)
    } else {
        serve_own_app(&resolved, action, Some(resolved.arguments()), runner)
    }
}

/// Returns the configuration for that of another server.
///
/// # Errors
/// A message: a file can't be read.
fn migrated(migrate: &Migrate) -> Result<String, String> {
    match migrate {
        Migrate::Gunicorn(arguments) => ops::migrate::gunicorn(arguments, || find_python(None)),
        Migrate::Granian(arguments) => Ok(ops::migrate::granian(arguments)),
        Migrate::Uwsgi(file) => ops::migrate::uwsgi(file),
    }
}

/// Prints a text to stdout, or why there is none; returns the exit code.
fn print_text(text: Result<String, String>) -> u8 {
    match text {
        Ok(text) => {
            // The reader may have closed the pipe; the rest is lost then.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Err(message) => config_error(&[message]),
    }
}

/// Whether the configuration names nothing to serve, and messages are printed.
fn is_bare(resolved: &Resolved) -> bool {
    let config = &resolved.config;
    let names_nothing = config.app.is_none() && config.program.is_empty() && config.site.vhost.is_empty();
    names_nothing && resolved.chosen.is_none() && !config.is_quiet()
}

/// Whether a supervisor has started this process, with a command line that contains the whole configuration.
fn is_child() -> bool {
    #[cfg(all(unix, feature = "reload"))]
    return crate::is_running_from_reloader();
    #[cfg(not(all(unix, feature = "reload")))]
    false
}

/// Serves a folder, the development application, another program, or the error page. `respawn_args` are the arguments
/// with which a supervisor starts its children; the error page has none, because it is itself a child.
fn serve_own_app(
    resolved: &Resolved,
    action: Action,
    respawn_args: Option<Vec<OsString>>,
    runner: &mut dyn Runner,
) -> u8 {
    let config = &resolved.config;
    let mut options = match config.options(action == Action::Check) {
        Ok(options) => options,
        Err(message) => return config_error(&[message]),
    };
    set_programs(config, &mut options, runner);
    #[cfg(all(unix, feature = "reload"))]
    let plan = {
        let mut plan = config.plan();
        if let Some(args) = respawn_args {
            respawn::set_commands(&mut plan, args, options.gives_up_rights(), runner);
        }
        plan
    };
    #[cfg(not(all(unix, feature = "reload")))]
    let _ = respawn_args;
    let app = match own_app(config, &options) {
        Ok(app) => app,
        Err(message) => return config_error(&[message]),
    };
    if action == Action::Check {
        return checked(options.check(&config.addresses()).and_then(|()| config.check_program()));
    }
    let hint = (is_bare(resolved) && !is_child()).then_some(TEST_APPLICATION);
    let loader = OwnAppLoader::new(app, &options, runner, hint);
    let builder = ServerBuilder::with_loader(loader).bind_all(config.addresses()).options(options);
    #[cfg(all(unix, feature = "reload"))]
    let builder = builder.launch(plan);
    exit_code(builder.run())
}

/// Ends what this process would leave behind. For a runner whose process exits at once.
pub fn before_exit() {
    crate::assemble::end_children();
    #[cfg(unix)]
    crate::pid_file::remove_current();
}

/// Prints the result of a check, and returns the exit code.
fn checked(result: Result<(), RunError>) -> u8 {
    match result {
        Ok(()) => {
            say!("amboss: the configuration is valid");
            0
        }
        Err(error) => config_error(&[error.to_string()]),
    }
}

/// Sets the applications of the hosts that are programs.
fn set_programs(config: &Config, options: &mut RunOptions, runner: &dyn Runner) {
    #[cfg(all(unix, feature = "reload"))]
    for (host, argv) in target::programs(config) {
        let program = crate::host_program::HostProgram::new(&host, argv, respawn::exec_wrapper(runner));
        // Replaces the placeholder.
        if let Some((_, app)) = options.hosts.iter_mut().find(|(known, _)| *known == host) {
            *app = Arc::new(program);
        }
    }
    #[cfg(not(all(unix, feature = "reload")))]
    let _ = (config, options, runner);
}

/// Returns the command's own application: a folder, or the development application.
///
/// # Errors
/// A message: the folder can't be served.
fn own_app(config: &Config, options: &RunOptions) -> Result<Arc<dyn Application>, String> {
    Ok(match config.app.as_deref().and_then(target::folder) {
        Some(folder) => Arc::new(config.folder(folder)?),
        None => Arc::new(DevApp::new(&options.settings, &config.concurrency())),
    })
}

/// Serves the Python applications of the configuration, beside the command's own one if APP is none of them.
fn serve_python_apps(resolved: &Resolved, action: Action, runner: &mut dyn Runner) -> u8 {
    let config = &resolved.config;
    let mut options = match config.options(action == Action::Check) {
        Ok(options) => options,
        Err(message) => return config_error(&[message]),
    };
    set_programs(config, &mut options, runner);
    let target = target::python_target(config);
    let own_app = match &target {
        Some(_) => None,
        None => match own_app(config, &options) {
            Ok(app) => Some(app),
            Err(message) => return config_error(&[message]),
        },
    };
    let mut arguments = resolved.arguments();
    if action == Action::Check {
        if let Err(error) = options.check(&config.addresses()) {
            return config_error(&[error.to_string()]);
        }
        arguments.push("--check-config".into());
    }
    if let Some(python) = &config.python.python {
        return exit_code(exec_python(Some(python), &arguments));
    }
    #[cfg(all(unix, feature = "reload"))]
    let plan = {
        let mut plan = config.plan();
        respawn::set_commands(&mut plan, arguments.clone(), options.gives_up_rights(), runner);
        plan
    };
    let python = &config.python;
    options.guest_of = python.worker_class.and_then(WorkerClass::library).map(str::to_owned);
    let app_config = AppConfig {
        addresses: config.addresses(),
        options,
        own_app,
        hosts: target::python_hosts(config),
        #[cfg(all(unix, feature = "reload"))]
        plan,
        timeout: python.timeout,
        max_requests: python.max_requests,
        max_requests_jitter: python.max_requests_jitter.into(),
        worker_class: python.worker_class,
        worker_connections: python.worker_connections.map(|connections| connections as usize),
        greenlet_conflict: config::with_greenlets(resolved),
        preload: python.preload,
        check: action == Action::Check,
        arguments,
    };
    exit_code(runner.serve(target.as_deref(), app_config))
}

/// Prints the error of a run, if there is one, and returns the exit code.
fn exit_code(result: Result<(), RunError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => match error.kind() {
            RunErrorKind::Exit(code) => u8::try_from(*code).unwrap_or(FAILED),
            RunErrorKind::Options(_) | RunErrorKind::Reload(_) => config_error(&[error.to_string()]),
            _ => {
                say!("amboss: {error}");
                FAILED
            }
        },
    }
}

/// Prints what to change in the configuration, and returns exit code 2.
fn config_error(messages: &[impl Borrow<str>]) -> u8 {
    print(&command_line::config_error(messages))
}

/// Prints a clap error and returns its exit code. Help and version are errors too, with exit code 0.
fn print(error: &clap::Error) -> u8 {
    // Writing fails if the reader has closed the pipe; the message is lost then.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(FAILED)
}
