//! `amboss APP`: which interpreter is used, which arguments it gets, and which message is printed if there is none. The
//! interpreters are scripts that print their arguments.

use std::process::Command;

use amboss_testkit::{run, skip, TempDir};

use crate::fails;
use crate::running::{amboss_in, test_dir};

/// Prints its own path and then its arguments, one per line, without the code that follows `-c`.
const INTERPRETER: &str = "#!/bin/sh\necho \"$0\"\n[ \"$1\" = -c ] || exit 9\nshift 2\nprintf '%s\\n' \"$@\"\nexit 7\n";

/// Writes an interpreter.
fn interpreter(dir: &TempDir, name: &str) {
    dir.write_program(name, INTERPRETER);
}

/// Returns the command, to be run in the subdirectory `here`. `home` is its home directory, and `path` its whole PATH.
fn amboss_in_subdirectory(dir: &TempDir, here: &str, arguments: &[&str]) -> Command {
    let mut command = amboss_in(dir, arguments);
    std::fs::create_dir_all(dir.join(here)).expect("the directory can be created");
    command.current_dir(dir.join(here)).env_remove("VIRTUAL_ENV");
    command.env("HOME", dir.join("home")).env("PATH", dir.join("path"));
    command
}

/// Asserts that the command starts `interpreter`, and returns the interpreter's arguments.
#[track_caller]
fn starts(dir: &TempDir, command: &mut Command, interpreter: &str) -> Vec<String> {
    let output = command.output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "the interpreter's exit code is the command's: {printed}");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    let taken = std::path::absolute(lines.remove(0)).expect("the path is absolute");
    assert_eq!(taken.canonicalize().expect("the file exists"), dir.join(interpreter));
    lines
}

/// Asserts that the command fails with code 2 and prints these messages.
#[track_caller]
fn refuses(command: &mut Command, messages: &[&str]) {
    let output = command.output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    for message in messages {
        assert!(printed.contains(message), "{message} in {printed}");
    }
}

#[test]
fn the_most_specific_interpreter_is_used() {
    let dir = test_dir();
    dir.write("home/shop/pyproject.toml", "");
    let amboss =
        |arguments: &[&str]| amboss_in_subdirectory(&dir, "home/shop/src", &[&["shop:app"], arguments].concat());
    // In ascending order of precedence: each is preferred to those that exist already.
    for name in [
        "path/python",
        "path/python3",
        "home/shop/venv/bin/python3",
        "home/shop/venv/bin/python",
        "home/shop/.venv/bin/python",
        "home/shop/src/venv/bin/python",
        "home/shop/src/.venv/bin/python",
    ] {
        interpreter(&dir, name);
        starts(&dir, &mut amboss(&[]), name);
    }
    interpreter(&dir, "active/bin/python");
    let active = dir.join("active");
    starts(&dir, amboss(&[]).env("VIRTUAL_ENV", &active), "active/bin/python");
    starts(&dir, amboss(&[]).env("VIRTUAL_ENV", ""), "home/shop/src/.venv/bin/python");
    interpreter(&dir, "other/bin/python");
    interpreter(&dir, "home/shop/src/mine");
    for (asked, expected) in [
        ("../../../other", "other/bin/python"),
        ("../../../other/bin/python", "other/bin/python"),
        ("mine", "home/shop/src/mine"),
        ("python3", "path/python3"),
    ] {
        starts(&dir, amboss(&["--python", asked]).env("VIRTUAL_ENV", &active), expected);
    }
}

#[test]
fn the_search_ends_at_the_top_of_the_project_and_below_the_home_directory() {
    let dir = test_dir();
    interpreter(&dir, "path/python3");
    interpreter(&dir, ".venv/bin/python");
    interpreter(&dir, "home/.venv/bin/python");
    for (project, top) in [("one", "pyproject.toml"), ("two", "setup.py"), ("three", ".git/HEAD")] {
        dir.write(&format!("{project}/{top}"), "");
        starts(&dir, &mut amboss_in_subdirectory(&dir, &format!("{project}/src"), &["app"]), "path/python3");
    }
    // Without the top of a project, only the current directory is searched.
    starts(&dir, &mut amboss_in_subdirectory(&dir, "some/where", &["app"]), "path/python3");
    interpreter(&dir, "some/where/venv/bin/python");
    starts(&dir, &mut amboss_in_subdirectory(&dir, "some/where", &["app"]), "some/where/venv/bin/python");
    // A home directory may be a git repository.
    dir.write("home/.git/HEAD", "");
    starts(&dir, &mut amboss_in_subdirectory(&dir, "home/notes", &["app"]), "path/python3");
    starts(&dir, &mut amboss_in_subdirectory(&dir, "home", &["app"]), "home/.venv/bin/python");
}

#[test]
fn the_interpreter_gets_the_whole_configuration_but_python() {
    let dir = test_dir();
    interpreter(&dir, "python");
    for (given, expected) in [
        (&["shop:app", "--python", "./python"][..], &["shop:app"][..]),
        (&["--python=./python", "-p", "0", "shop:make(\"a b\", n=1)"], &["--port=0", "shop:make(\"a b\", n=1)"]),
        (
            &[
                "--timeout",
                "0.5",
                "--max-requests=9",
                "--max-requests-jitter",
                "3",
                "--python",
                "python",
                "a.py",
                "-qq",
            ],
            &["--quiet", "--quiet", "--timeout=0.5", "--max-requests=9", "--max-requests-jitter=3", "a.py"],
        ),
        (&["--preload", "-w", "4", "a.b", "--python=python"], &["--preload", "--workers=4", "a.b"]),
        (
            &["-r", "--live", "--error-page", "a:b.c", "--python=python"],
            &["--live", "--reload", "--error-page", "a:b.c"],
        ),
        (&["--single", "--python", "python", "--log-file", "log", "a"], &["--single", "--log-file=log", "a"]),
    ] {
        let expected = [&["--no-config"], expected].concat();
        assert_eq!(starts(&dir, &mut amboss_in_subdirectory(&dir, "", given), "python"), expected);
    }
}

#[test]
fn a_missing_interpreter_is_an_error_that_lists_the_places_searched() {
    let dir = test_dir();
    dir.write("shop/setup.py", "");
    let (shop, src) = (dir.join("shop"), dir.join("shop/src"));
    let amboss = |arguments: &[&str]| amboss_in_subdirectory(&dir, "shop/src", &[&["app"], arguments].concat());
    let places = format!("no .venv or venv in '{}' or '{}'", src.display(), shop.display());
    refuses(&mut amboss(&[]), &["VIRTUAL_ENV is not set", &places, "name an interpreter with --python PATH"]);
    let gone = shop.join("gone");
    refuses(amboss(&[]).env("VIRTUAL_ENV", &gone), &[&format!("VIRTUAL_ENV is '{}'", gone.display())]);
    dir.write("shop/.venv/pyvenv.cfg", "");
    refuses(&mut amboss(&[]), &["no longer has an interpreter; recreate it, or use --python PATH"]);
    for (asked, message) in [
        ("..", "'..' is not a virtual environment"),
        ("../setup.py", "'../setup.py' is not executable"),
        ("not/there", "there is no interpreter 'not/there'"),
        ("python3", "there is no interpreter 'python3'"),
    ] {
        refuses(&mut amboss(&["--python", asked]), &[message]);
    }
    dir.write_program("shop/src/odd", "#!/not/there\n");
    refuses(&mut amboss(&["--python", "odd"]), &["odd' can't be run (", "name an interpreter with --python PATH"]);
}

#[test]
fn contradictory_flags_are_refused_with_a_message() {
    for (arguments, message) in [
        (&["app", "--", "sh"][..], "APP and PROGRAM can't both be served; leave out one of them"),
        (&["app", "--processes", "2"], "use --workers N instead"),
        (&["app", "--processes", "2", "--threads", "2"], "'--processes <N>' cannot be used with '--threads <N>'"),
        (&["app", "--preload", "--reload"], "--reload would serve old code; leave out one of them"),
        (&["app", "--preload", "--debug"], "--debug would serve old code; leave out one of them"),
        (&["app", "--timeout", "0.01"], "give seconds, from 0.1 to 86400"),
        (&["app", "--timeout", "nan"], "give seconds, from 0.1 to 86400"),
        (&["app", "--timeout", "soon"], "give seconds, from 0.1 to 86400"),
        (&["app", "--max-requests", "-1"], "unexpected argument '-1'"),
        (&["app", "--max-requests-jitter", "9"], "--max-requests <N>"),
        (&["app", "another"], "unexpected argument 'another'"),
        (&["app", "-r", "--watch-reported"], "<PROGRAM>..."),
        (&["-r", "--watch-reported"], "<PROGRAM>..."),
        (&["--timeout", "3"], "--timeout is for a Python application; name one, as in amboss shop:app"),
        (&["--max-requests", "3"], "--max-requests is for a Python application"),
        (&["--preload", "-w", "2"], "--preload is for a Python application"),
        (&["--python", "python3"], "--python is for a Python application"),
        (&["--timeout", "3", "--", "sh"], "--timeout is for a Python application"),
    ] {
        fails(arguments, 2, message);
    }
}

#[test]
fn the_help_lists_the_flags_and_their_defaults() {
    let output = crate::amboss(&["--help"]).output().expect("the command runs");
    let help = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "Usage: amboss [OPTIONS] [APP] [-- <PROGRAM>...]",
        "module:factory(\"text\", n=1)",
        "Python applications: --python <PATH>",
        "--timeout <SECONDS>",
        "--max-requests <N>",
        "--max-requests-jitter <N>",
        "--preload",
        "[default: 64; 16 for APP]",
        "--error-page While the newest code is broken, answer every request with the reason [default: the old code keeps",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    // The arguments that only programs use.
    for part in ["__", "--watch-reported"] {
        assert!(!help.contains(part), "{part} in {help}");
    }
}

/// Returns the path of a real interpreter.
pub fn real() -> Option<String> {
    let output = run("python3", &["-c", "import sys; print(sys.executable)"], b"")?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn a_real_interpreter_runs_the_package_or_prints_how_to_install_it() {
    let Some(python) = real() else { return };
    let dir = test_dir();
    let python_path = dir.join("packages");
    // Installed packages are hidden; only those in the directory are visible.
    let amboss = |arguments: &[&str]| {
        let mut command = amboss_in_subdirectory(&dir, "here", &[&["--python", &python], arguments].concat());
        command.env("PYTHONPATH", &python_path).env("PYTHONNOUSERSITE", "1");
        command
    };
    let version = env!("CARGO_PKG_VERSION");
    let print = "import os, sys\nassert sys.path[0] == os.getcwd()\nprint(__name__, sys.argv[1:])\nsys.exit(5)\n";
    dir.write("packages/amboss/__main__.py", print);
    for (package, printed) in [
        (format!("__version__ = '{version}'"), String::new()),
        (String::new(), String::new()),
        ("__version__ = '99'".into(), format!("this command is {version}, the package of {python} is 99")),
    ] {
        dir.write("packages/amboss/__init__.py", &package);
        let output = amboss(&["shop:app", "-q"]).output().expect("the command runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{err}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "__main__ ['--no-config', '--quiet', 'shop:app']\n");
        assert!(err.contains(&printed) && err.is_empty() == printed.is_empty(), "{err}");
    }
    // An import error inside the package is reported as it is.
    dir.write("packages/amboss/__init__.py", "import not_there");
    let output = amboss(&["shop:app"]).output().expect("the command runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("No module named 'not_there'"), "{err}");
    if Command::new(&python).args(["-c", "import amboss"]).output().expect("the command runs").status.success() {
        skip(&format!("{python} has the package"));
        return;
    }
    // The package is not on an index yet, so the message names its sources, which exist.
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/python");
    assert!(std::path::Path::new(package).join("pyproject.toml").exists());
    let install = format!("amboss is not installed for {python}; run: {python} -m pip install {package}\n");
    // A directory that happens to have the name is not a package.
    std::fs::remove_file(dir.join("packages/amboss/__init__.py")).expect("the file exists");
    refuses(&mut amboss(&["shop:app"]), &[&install]);
    std::fs::remove_dir_all(&python_path).expect("the file exists");
    refuses(&mut amboss(&["shop:app"]), &[&install]);
}
