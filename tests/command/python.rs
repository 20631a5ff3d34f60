//! `amboss APP`: which interpreter is taken, what it is told, and what is said when there is none. The interpreters are
//! scripts that print how they were called.

use std::process::Command;

use crate::fails;
use crate::running::{is_there, Folder};

/// Says who it is and what it is to do, one argument a line, but for the code that comes first.
const INTERPRETER: &str = "#!/bin/sh\necho \"$0\"\n[ \"$1\" = -c ] || exit 9\nshift 2\nprintf '%s\\n' \"$@\"\nexit 7\n";

/// Saves an interpreter.
fn interpreter(folder: &Folder, name: &str) {
    program(folder, name, INTERPRETER);
}

/// Saves a program, by another process: one that a test beside this one starts may hold what this one has open for
/// writing, and what is open for writing can't be run.
fn program(folder: &Folder, name: &str, text: &str) {
    let path = folder.0.join(name);
    std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("it can be made");
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").args(["-c", write]).arg(path).arg(text).status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// The command in a folder of this one, which has the home folder and the whole PATH as well.
fn amboss_in(folder: &Folder, here: &str, arguments: &[&str]) -> Command {
    let mut command = folder.amboss(arguments);
    std::fs::create_dir_all(folder.0.join(here)).expect("it can be made");
    command.current_dir(folder.0.join(here)).env_remove("VIRTUAL_ENV");
    command.env("HOME", folder.0.join("home")).env("PATH", folder.0.join("path"));
    command
}

/// Which interpreter is started, and with which arguments.
#[track_caller]
fn takes(folder: &Folder, command: &mut Command, interpreter: &str) -> Vec<String> {
    let output = command.output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "the interpreter's code is the command's: {said}");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    let taken = std::path::absolute(lines.remove(0)).expect("it has a name");
    assert_eq!(taken.canonicalize().expect("it is there"), folder.0.join(interpreter));
    lines
}

#[track_caller]
fn refuses(command: &mut Command, sentences: &[&str]) {
    let output = command.output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for sentence in sentences {
        assert!(said.contains(sentence), "{sentence} in {said}");
    }
}

#[test]
fn the_interpreter_is_the_nearest_to_what_was_said() {
    let folder = Folder::new("nearest");
    folder.save("home/shop/pyproject.toml", "");
    let amboss = |arguments: &[&str]| amboss_in(&folder, "home/shop/src", &[&["shop:app"], arguments].concat());
    // From the last to the first: each is taken before those that are there already.
    for name in [
        "path/python",
        "path/python3",
        "home/shop/venv/bin/python3",
        "home/shop/venv/bin/python",
        "home/shop/.venv/bin/python",
        "home/shop/src/venv/bin/python",
        "home/shop/src/.venv/bin/python",
    ] {
        interpreter(&folder, name);
        takes(&folder, &mut amboss(&[]), name);
    }
    interpreter(&folder, "active/bin/python");
    let active = folder.0.join("active");
    takes(&folder, amboss(&[]).env("VIRTUAL_ENV", &active), "active/bin/python");
    takes(&folder, amboss(&[]).env("VIRTUAL_ENV", ""), "home/shop/src/.venv/bin/python");
    interpreter(&folder, "other/bin/python");
    interpreter(&folder, "home/shop/src/mine");
    for (asked, taken) in [
        ("../../../other", "other/bin/python"),
        ("../../../other/bin/python", "other/bin/python"),
        ("mine", "home/shop/src/mine"),
        ("python3", "path/python3"),
    ] {
        takes(&folder, amboss(&["--python", asked]).env("VIRTUAL_ENV", &active), taken);
    }
}

#[test]
fn a_search_ends_at_the_top_of_the_project_and_below_the_home_folder() {
    let folder = Folder::new("top");
    interpreter(&folder, "path/python3");
    interpreter(&folder, ".venv/bin/python");
    interpreter(&folder, "home/.venv/bin/python");
    for (project, top) in [("one", "pyproject.toml"), ("two", "setup.py"), ("three", ".git/HEAD")] {
        folder.save(&format!("{project}/{top}"), "");
        takes(&folder, &mut amboss_in(&folder, &format!("{project}/src"), &["app"]), "path/python3");
    }
    // Without a top, what lies around is somebody else's.
    takes(&folder, &mut amboss_in(&folder, "some/where", &["app"]), "path/python3");
    interpreter(&folder, "some/where/venv/bin/python");
    takes(&folder, &mut amboss_in(&folder, "some/where", &["app"]), "some/where/venv/bin/python");
    // Some keep their home folder in git.
    folder.save("home/.git/HEAD", "");
    takes(&folder, &mut amboss_in(&folder, "home/notes", &["app"]), "path/python3");
    takes(&folder, &mut amboss_in(&folder, "home", &["app"]), "home/.venv/bin/python");
}

#[test]
fn the_interpreter_is_told_everything_but_its_own_name() {
    let folder = Folder::new("told");
    interpreter(&folder, "python");
    for (given, told) in [
        (&["shop:app", "--python", "./python"][..], &["shop:app"][..]),
        (&["--python=./python", "-p", "0", "shop:make(\"a b\", n=1)"], &["-p", "0", "shop:make(\"a b\", n=1)"]),
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
            &["--timeout", "0.5", "--max-requests=9", "--max-requests-jitter", "3", "a.py", "-qq"],
        ),
        (&["--preload", "-w", "4", "a.b", "--python=python"], &["--preload", "-w", "4", "a.b"]),
        (&["-r", "--live", "--error-page", "a:b.c", "--python=python"], &["-r", "--live", "--error-page", "a:b.c"]),
        (&["--single", "--python", "python", "--log-file", "log", "a"], &["--single", "--log-file", "log", "a"]),
    ] {
        assert_eq!(takes(&folder, &mut amboss_in(&folder, "", given), "python"), told);
    }
}

#[test]
fn without_an_interpreter_the_places_are_named_and_what_to_do() {
    let folder = Folder::new("none");
    folder.save("shop/setup.py", "");
    let (shop, src) = (folder.0.join("shop"), folder.0.join("shop/src"));
    let amboss = |arguments: &[&str]| amboss_in(&folder, "shop/src", &[&["app"], arguments].concat());
    let places = format!("no .venv or venv in '{}' or '{}'", src.display(), shop.display());
    refuses(&mut amboss(&[]), &["VIRTUAL_ENV is not set", &places, "name one with --python PATH"]);
    let gone = shop.join("gone");
    refuses(amboss(&[]).env("VIRTUAL_ENV", &gone), &[&format!("VIRTUAL_ENV is '{}'", gone.display())]);
    folder.save("shop/.venv/pyvenv.cfg", "");
    refuses(&mut amboss(&[]), &["has no interpreter any more; make it anew, or use --python PATH"]);
    for (asked, sentence) in [
        ("..", "'..' is no virtual environment"),
        ("../setup.py", "'../setup.py' can't be executed"),
        ("not/there", "there is no interpreter 'not/there'"),
        ("python3", "there is no interpreter 'python3'"),
    ] {
        refuses(&mut amboss(&["--python", asked]), &[sentence]);
    }
    program(&folder, "shop/src/odd", "#!/not/there\n");
    refuses(&mut amboss(&["--python", "odd"]), &["odd' can't be run (", "name an interpreter with --python PATH"]);
}

#[test]
fn flags_that_can_t_be_followed_are_refused_with_a_sentence() {
    for (arguments, sentence) in [
        (&["app", "--", "sh"][..], "APP and PROGRAM can't both be served; leave out one of them"),
        (&["app", "--processes", "2"], "use --workers N instead"),
        (&["app", "--processes", "2", "--threads", "2"], "Cannot have a multi-thread and multi-process server."),
        (&["app", "--preload", "--reload"], "--reload would serve old code; leave out one of them"),
        (&["app", "--timeout", "0.01"], "give seconds, from 0.1 to 86400"),
        (&["app", "--timeout", "nan"], "give seconds, from 0.1 to 86400"),
        (&["app", "--timeout", "soon"], "give seconds, from 0.1 to 86400"),
        (&["app", "--max-requests", "0"], "0 is not in 1.."),
        (&["app", "--max-requests-jitter", "9"], "--max-requests <N>"),
        (&["app", "another"], "unexpected argument 'another'"),
        (&["app", "-r", "--watch-reported"], "--watch-reported is for a PROGRAM, not for APP"),
        (&["-r", "--watch-reported"], "--watch-reported is for a PROGRAM; name one at the end, behind --"),
        (&["--fingerprint", "AB"], "--fingerprint is for a PROGRAM"),
        (&["--timeout", "3"], "--timeout is for a Python application; name one, as in amboss shop:app"),
        (&["--max-requests", "3"], "--max-requests is for a Python application"),
        (&["--preload", "-w", "2"], "--preload is for a Python application"),
        (&["--python", "python3"], "--python is for a Python application"),
        (&["--timeout", "3", "--", "sh"], "--timeout is for a Python application"),
    ] {
        fails(arguments, 2, sentence);
    }
}

#[test]
fn the_help_lists_the_flags_and_what_is_taken_without_them() {
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
        "--error-page While the newest code is broken, show why to every request [default: the old code serves on",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    // What only programs say to each other.
    for part in ["__", "--watch-reported", "--url-scheme", "--fingerprint"] {
        assert!(!help.contains(part), "{part} in {help}");
    }
}

/// The path of a real interpreter.
pub fn real() -> Option<String> {
    let ask = "import sys; print(sys.executable)";
    let output = is_there("python3").then(|| Command::new("python3").args(["-c", ask]).output().expect("it runs"))?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn a_real_interpreter_runs_the_package_or_says_how_to_install_it() {
    let Some(python) = real() else { return };
    let folder = Folder::new("package");
    let python_path = folder.0.join("packages");
    // Nothing that is installed is looked at, and nothing but what lies in the folder.
    let amboss = |arguments: &[&str]| {
        let mut command = amboss_in(&folder, "here", &[&["--python", &python], arguments].concat());
        command.env("PYTHONPATH", &python_path).env("PYTHONNOUSERSITE", "1");
        command
    };
    let version = env!("CARGO_PKG_VERSION");
    let print = "import os, sys\nassert sys.path[0] == os.getcwd()\nprint(__name__, sys.argv[1:])\nsys.exit(5)\n";
    folder.save("packages/amboss/__main__.py", print);
    for (package, said) in [
        (format!("__version__ = '{version}'"), String::new()),
        (String::new(), String::new()),
        ("__version__ = '99'".into(), format!("this command is {version}, the package of {python} is 99")),
    ] {
        folder.save("packages/amboss/__init__.py", &package);
        let output = amboss(&["shop:app", "-q"]).output().expect("the command runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{err}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "__main__ ['shop:app', '-q']\n");
        assert!(err.contains(&said) && err.is_empty() == said.is_empty(), "{err}");
    }
    // What a package lacks is its own affair.
    folder.save("packages/amboss/__init__.py", "import not_there");
    let output = amboss(&["shop:app"]).output().expect("the command runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("No module named 'not_there'"), "{err}");
    if Command::new(&python).args(["-c", "import amboss"]).output().expect("it runs").status.success() {
        println!("skipped: {python} has the package");
        return;
    }
    // No index has it: what is named is there.
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/python");
    assert!(std::path::Path::new(package).join("pyproject.toml").exists());
    let install = format!("amboss is not installed for {python}; run: {python} -m pip install {package}\n");
    // A folder that happens to have the name is no package.
    std::fs::remove_file(folder.0.join("packages/amboss/__init__.py")).expect("it is there");
    refuses(&mut amboss(&["shop:app"]), &[&install]);
    std::fs::remove_dir_all(&python_path).expect("it is there");
    refuses(&mut amboss(&["shop:app"]), &[&install]);
}
