//! Saves by real tools: vim, sed, git.

use std::path::Path;
use std::process::{Command, Stdio};

use amboss_reload::ChangeKind::{Created, Modified, Removed};
use amboss_testkit::skip;

use crate::support::{put, Reported, TestFolder, BACKENDS};

/// Runs a tool. Returns whether it is installed.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // The user's configuration must not apply.
    command.env("HOME", folder).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@example.org");
    }
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            skip(&format!("{program} can't be run ({error})"));
            false
        }
    }
}

#[test]
fn a_save_by_vim_modifies_one_file() {
    // vim saves once in place, and once by renaming the old file to a backup.
    for copy in ["yes", "no"] {
        for backend in BACKENDS {
            let folder = TestFolder::new();
            put(folder.root().join("a.py"), "1\n");
            let mut watch = folder.watch(backend, folder.scope());
            let set = format!("set backupcopy={copy} writebackup swapfile");
            let save = ["-u", "NONE", "-es", "-c", &set, "-c", "edit a.py", "-c", "normal Atwo", "-c", "wq"];
            if !run(&folder.root(), "vim", &save) {
                return;
            }
            let reported = folder.reported(&mut watch);
            assert_eq!(reported, Reported::from([("root/a.py".into(), Modified)]), "{backend}, backupcopy={copy}");
        }
    }
}

#[test]
fn a_replacement_by_sed_modifies_one_file() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        put(folder.root().join("a.py"), "1\n");
        let mut watch = folder.watch(backend, folder.scope());
        if !run(&folder.root(), "sed", &["-i", "s/1/two/", "a.py"]) {
            return;
        }
        assert_eq!(folder.reported(&mut watch), Reported::from([("root/a.py".into(), Modified)]), "{backend}");
    }
}

#[test]
fn a_checkout_by_git_reports_the_differences_between_the_branches() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let git = |arguments: &[&str]| run(&folder.root(), "git", arguments);
        for number in 0..60 {
            put(folder.root().join(format!("p{}/f{number}.py", number % 6)), "1\n");
        }
        if !git(&["init", "-q", "-b", "one"]) {
            return;
        }
        git(&["add", "."]);
        git(&["commit", "-q", "-m", "one"]);
        git(&["checkout", "-q", "-b", "two"]);
        let mut expected = Reported::new();
        for number in 0..60 {
            let name = format!("p{}/f{number}.py", number % 6);
            match number % 3 {
                0 => {
                    put(folder.root().join(&name), "two\n");
                    expected.insert(Path::new("root").join(&name), Modified);
                }
                1 => {
                    std::fs::remove_file(folder.root().join(&name)).expect("the file exists");
                    expected.insert(Path::new("root").join(&name), Created);
                }
                _ => {}
            }
        }
        put(folder.root().join("new/deep/a.py"), "two\n");
        expected.insert("root/new/deep/a.py".into(), Removed);
        git(&["add", "."]);
        git(&["commit", "-q", "-m", "two"]);
        let mut watch = folder.watch(backend, folder.scope());
        git(&["checkout", "-q", "one"]);
        assert_eq!(folder.reported(&mut watch), expected, "{backend}");
    }
}
