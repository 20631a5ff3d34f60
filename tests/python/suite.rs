//! The tests: each file of `crates/python/tests`, and all of them with other interpreters.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::environment::{python, run, Obstacle};
use crate::interpreters::{find, Which};
use crate::wheel::installed;

/// A test for each Python file, named after it.
macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                pytest(Which::Default, &[concat!(stringify!($name), ".py").to_owned()]);
            }
        )*
    };
}

files! {
    test_behind_nginx,
    test_blocks,
    test_bottle_falcon,
    test_clients,
    test_close,
    test_command,
    test_django,
    test_environ,
    test_errors,
    test_extensions,
    test_file_wrapper,
    test_flask,
    test_forks,
    test_handler,
    test_heads,
    test_input,
    test_large_bodies,
    test_limits,
    test_make_server,
    test_programs,
    test_recursion,
    test_reload,
    test_reload_load,
    test_reload_scripts,
    test_robust,
    test_run_simple,
    test_socket,
    test_start_response,
    test_threads,
    test_typing,
    test_workers,
}

/// What is about processes and time, not about the interpreter, and takes long: tried with the default one.
const OF_PROCESSES: [&str; 3] = ["test_workers", "test_limits", "test_reload_load"];

fn everything(which: Which) {
    let mut what = vec![".".to_owned()];
    what.extend(OF_PROCESSES.map(|name| format!("--ignore={name}.py")));
    pytest(which, &what);
}

#[test]
fn everything_with_the_oldest_python() {
    everything(Which::Oldest);
}

#[test]
fn everything_with_the_newest_python() {
    everything(Which::Newest);
}

#[test]
fn no_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/python/tests");
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".py").filter(|name| name.starts_with("test_")) else { continue };
        assert!(FILES.contains(&name), "tests/python/suite.rs has to name {name}");
    }
}

fn pytest(which: Which, what: &[String]) {
    // One at a time: each starts servers and loads by itself, and some of its tests are about time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
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
    let options = ["-m", "pytest", "-q", "--no-header", "-rs"];
    let mut pytest = python(&environment);
    // Where that is a program as well.
    if let Some(command) = option_env!("CARGO_BIN_EXE_amboss") {
        pytest.env("AMBOSS_TEST_COMMAND", command);
    }
    match run(pytest.args(options).args(what).current_dir(folder)) {
        Ok(printed) => {
            // What passed needs no list; what was skipped is said.
            for line in printed.lines().filter(|line| line.contains("SKIPPED") || line.contains(" passed")) {
                println!("Python {}: {}", interpreter.name(), line.replace("SKIPPED", "skipped:"));
            }
        }
        Err(printed) => panic!("Python {}: {printed}", interpreter.name()),
    }
}
