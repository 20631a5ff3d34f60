//! The tests of `crates/python/tests`: all of them with the default interpreter, and with the oldest and the newest one
//! those that depend on the interpreter's version.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::environment::{python, run, Obstacle};
use crate::interpreters::{find, Which};
use crate::wheel::installed;

/// A test for each Python file that takes long, named after it.
macro_rules! slow_files {
    ($($name:ident),* $(,)?) => {
        const SLOW: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                pytest(Which::Default, &[stringify!($name)]);
            }
        )*
    };
}

slow_files! {
    test_behind_nginx,
    test_clients,
    test_command,
    test_django,
    test_large_bodies,
    test_limits,
    test_reload,
    test_reload_load,
    test_reload_scripts,
    test_robust,
    test_typing,
    test_workers,
}

/// Files whose tests take a few seconds at most: one process for all of them.
const FAST: &[&str] = &[
    "test_blocks",
    "test_bottle_falcon",
    "test_close",
    "test_environ",
    "test_errors",
    "test_extensions",
    "test_file_wrapper",
    "test_flask",
    "test_forks",
    "test_handler",
    "test_heads",
    "test_input",
    "test_make_server",
    "test_programs",
    "test_recursion",
    "test_run_simple",
    "test_socket",
    "test_start_response",
    "test_threads",
];

#[test]
fn fast_files() {
    pytest(Which::Default, FAST);
}

/// What else depends on the version of the interpreter: how modules are found and what failed imports say, how a script is
/// started again, and what is left behind by many requests. The rest is about HTTP, processes, frameworks and the package's types.
const DEPENDS_ON_VERSION: [&str; 3] = ["test_command", "test_reload_scripts", "test_robust"];

fn what_depends_on_the_version(which: Which) {
    pytest(which, &[FAST, &DEPENDS_ON_VERSION].concat());
}

#[test]
fn another_interpreter_the_oldest() {
    what_depends_on_the_version(Which::Oldest);
}

#[test]
fn another_interpreter_the_newest() {
    what_depends_on_the_version(Which::Newest);
}

#[test]
fn no_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/python/tests");
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".py").filter(|name| name.starts_with("test_")) else { continue };
        assert!(SLOW.contains(&name) || FAST.contains(&name), "tests/python/suite.rs has to name {name}");
    }
}

/// Runs at the same time: most of what they do is to wait, but each starts servers and loads.
const AT_ONCE: usize = 2;

/// A turn among those that run pytest; over when it is dropped.
struct Turn;

static RUNNING: Mutex<usize> = Mutex::new(0);
static OVER: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Turn {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running =
            OVER.wait_while(running, |running| *running >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        OVER.notify_one();
    }
}

fn pytest(which: Which, files: &[&str]) {
    let interpreter = match find(which) {
        Ok(interpreter) => interpreter,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let environment = match installed(&interpreter) {
        Ok(environment) => environment,
        Err(Obstacle::Skipped(reason)) => return println!("skipped: {reason}"),
        Err(Obstacle::Broken(reason)) => panic!("{reason}"),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/python/tests");
    let options = ["-m", "pytest", "-q", "--no-header", "-rsfE"];
    let mut pytest = python(&environment);
    // Where that is a program as well.
    if let Some(command) = option_env!("CARGO_BIN_EXE_amboss") {
        pytest.env("AMBOSS_TEST_COMMAND", command);
    }
    // `.ci/test` runs once more what failed, alone: one test of pytest a line.
    match std::env::var("AMBOSS_TEST_PYTEST") {
        Ok(only) => pytest.args(options).args(only.lines()),
        Err(_) => pytest.args(options).args(files.iter().map(|name| format!("{name}.py"))),
    };
    let _turn = Turn::wait();
    match run(pytest.current_dir(folder)) {
        Ok(printed) => {
            // What passed needs no list; what was skipped is said.
            for line in printed.lines().filter(|line| line.contains("SKIPPED") || line.contains(" passed")) {
                println!("Python {}: {}", interpreter.name(), line.replace("SKIPPED", "skipped:"));
            }
        }
        Err(printed) => panic!("Python {}: {printed}", interpreter.name()),
    }
}
