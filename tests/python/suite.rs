//! The tests of `crates/python/tests`: all files with the default interpreter; files that depend on the version of the
//! interpreter also with the oldest and the newest one.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::environment::{python, run, SetupError};
use crate::interpreters::{find, Wanted};
use crate::wheel::installed;

/// Defines a test for each Python file that takes long, with the name of the file.
macro_rules! slow_files {
    ($($name:ident),* $(,)?) => {
        const SLOW: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                pytest(Wanted::Default, &[stringify!($name)]);
            }
        )*
    };
}

slow_files! {
    test_behind_nginx,
    test_clients,
    test_command,
    test_configuration,
    test_django,
    test_greenlets,
    test_large_bodies,
    test_limits,
    test_moving,
    test_reload,
    test_reload_load,
    test_reload_scripts,
    test_robust,
    test_spare,
    test_typing,
    test_workers,
}

/// Files whose tests take a few seconds at most. One process runs all of them.
const FAST: &[&str] = &[
    "test_blocks",
    "test_bottle_falcon",
    "test_close",
    "test_debugger",
    "test_environ",
    "test_errors",
    "test_extensions",
    "test_file_wrapper",
    "test_flask",
    "test_forks",
    "test_free_threaded",
    "test_handler",
    "test_heads",
    "test_input",
    "test_make_server",
    "test_programs",
    "test_proxies",
    "test_recursion",
    "test_run_simple",
    "test_socket",
    "test_ssl_context",
    "test_hosts",
    "test_start_response",
    "test_static_files",
    "test_threads",
];

#[test]
fn fast_files() {
    pytest(Wanted::Default, FAST);
}

/// Slow files that depend on the version of the interpreter: on how it finds modules and reports imports, what failed
/// imports print, how a script is restarted, and what many requests leave behind. The other slow files test HTTP,
/// processes, frameworks and the package's types.
const DEPENDS_ON_VERSION: [&str; 4] = ["test_command", "test_reload_scripts", "test_robust", "test_spare"];

fn files_that_depend_on_the_version(wanted: Wanted) {
    pytest(wanted, &[FAST, &DEPENDS_ON_VERSION].concat());
}

#[test]
fn files_that_depend_on_the_version_pass_with_the_oldest_interpreter() {
    files_that_depend_on_the_version(Wanted::Oldest);
}

#[test]
fn files_that_depend_on_the_version_pass_with_the_newest_interpreter() {
    files_that_depend_on_the_version(Wanted::Newest);
}

/// Without the interpreter lock, what is shared between threads shows whether it is guarded.
#[test]
fn files_pass_without_the_interpreter_lock() {
    pytest(Wanted::FreeThreaded, &[FAST, &["test_limits", "test_robust"]].concat());
}

#[test]
fn every_test_file_is_listed_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/python/tests");
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".py").filter(|name| name.starts_with("test_")) else { continue };
        assert!(SLOW.contains(&name) || FAST.contains(&name), "add {name} to SLOW or FAST in tests/python/suite.rs");
    }
}

/// The maximum number of pytest processes that run at once. They mostly wait, but each starts servers and load.
const MAX_CONCURRENT: usize = 2;

/// A permit to run pytest, which is returned when it is dropped.
struct Permit;

static RUNNING: Mutex<usize> = Mutex::new(0);
static RETURNED: Condvar = Condvar::new();

impl Permit {
    fn acquire() -> Permit {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running =
            RETURNED.wait_while(running, |running| *running >= MAX_CONCURRENT).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RETURNED.notify_one();
    }
}

/// Runs pytest with these files, in an environment in which amboss is installed.
fn pytest(wanted: Wanted, files: &[&str]) {
    let interpreter = match find(wanted) {
        Ok(interpreter) => interpreter,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let environment = match installed(&interpreter) {
        Ok(environment) => environment,
        Err(SetupError::Skipped(reason)) => return println!("skipped: {reason}"),
        Err(SetupError::Failed(reason)) => panic!("{reason}"),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/python/tests");
    let options = ["-m", "pytest", "-q", "--no-header", "-rsfE"];
    let mut pytest = python(&environment);
    // Set if the binary was built.
    if let Some(command) = option_env!("CARGO_BIN_EXE_amboss") {
        pytest.env("AMBOSS_TEST_COMMAND", command);
    }
    // `.ci/test` runs failed tests again: it passes one test of pytest per line.
    match std::env::var("AMBOSS_TEST_PYTEST") {
        Ok(only) => pytest.args(options).args(only.lines()),
        Err(_) => pytest.args(options).args(files.iter().map(|name| format!("{name}.py"))),
    };
    let _permit = Permit::acquire();
    match run(pytest.current_dir(folder)) {
        Ok(output) => {
            // Show skipped tests and the summary.
            for line in output.lines().filter(|line| line.contains("SKIPPED") || line.contains(" passed")) {
                println!("Python {}: {}", interpreter.name(), line.replace("SKIPPED", "skipped:"));
            }
        }
        Err(output) => panic!("Python {}: {output}", interpreter.name()),
    }
}
