//! Which changes are reported: one table for both back-ends.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use amboss_reload::ChangeKind::{self, Created, Modified, Removed};
use amboss_reload::{Backend, ScopeOptions};

use crate::support::{put, Reported, TestFolder, BACKENDS};

struct Case {
    name: &'static str,
    /// Creates the files that exist before the watch starts. The path is the test's folder, in which `root` is watched.
    before: fn(&Path),
    /// Changes the scope.
    scope: fn(&Path, &mut ScopeOptions),
    act: fn(&Path),
    reported: &'static [(ChangeKind, &'static str)],
}

fn nothing(_: &Path) {}
fn plain(_: &Path, _: &mut ScopeOptions) {}
fn one_file(at: &Path) {
    put(at.join("root/a.py"), "1");
}

const CASES: &[Case] = &[
    Case { name: "a new file", before: nothing, scope: plain, act: one_file, reported: &[(Created, "root/a.py")] },
    Case {
        name: "a file that is written",
        before: one_file,
        scope: plain,
        act: |at| put(at.join("root/a.py"), "12"),
        reported: &[(Modified, "root/a.py")],
    },
    Case {
        name: "a file that is deleted",
        before: one_file,
        scope: plain,
        act: |at| fs::remove_file(at.join("root/a.py")).unwrap(),
        reported: &[(Removed, "root/a.py")],
    },
    Case {
        name: "an atomic save: a new file renamed over the old one",
        before: one_file,
        scope: plain,
        act: |at| {
            put(at.join("root/.a.py.tmp"), "2");
            fs::rename(at.join("root/.a.py.tmp"), at.join("root/a.py")).unwrap();
        },
        reported: &[(Modified, "root/a.py")],
    },
    Case {
        name: "vim's save: a probe, the old file renamed to a backup, a new one, no backup",
        before: one_file,
        scope: plain,
        act: |at| {
            put(at.join("root/4913"), "");
            fs::remove_file(at.join("root/4913")).unwrap();
            fs::rename(at.join("root/a.py"), at.join("root/a.py~")).unwrap();
            put(at.join("root/a.py"), "2");
            fs::remove_file(at.join("root/a.py~")).unwrap();
        },
        reported: &[(Modified, "root/a.py")],
    },
    Case {
        name: "a file that is renamed",
        before: one_file,
        scope: plain,
        act: |at| fs::rename(at.join("root/a.py"), at.join("root/b.py")).unwrap(),
        reported: &[(Removed, "root/a.py"), (Created, "root/b.py")],
    },
    Case {
        name: "a folder that is moved out",
        before: |at| put(at.join("root/p/q/a.py"), "1"),
        scope: plain,
        act: |at| fs::rename(at.join("root/p"), at.join("p")).unwrap(),
        reported: &[(Removed, "root/p/q/a.py")],
    },
    Case {
        name: "a folder that is moved in, and a file written in it afterwards",
        before: |at| {
            put(at.join("p/q/a.py"), "1");
            put(at.join("p/b.py"), "1");
        },
        scope: plain,
        act: |at| {
            fs::rename(at.join("p"), at.join("root/p")).unwrap();
            put(at.join("root/p/q/c.py"), "1");
        },
        reported: &[(Created, "root/p/b.py"), (Created, "root/p/q/a.py"), (Created, "root/p/q/c.py")],
    },
    Case {
        name: "a folder that is renamed inside the root",
        before: |at| put(at.join("root/p/a.py"), "1"),
        scope: plain,
        act: |at| {
            fs::rename(at.join("root/p"), at.join("root/q")).unwrap();
            put(at.join("root/q/a.py"), "12");
        },
        reported: &[(Removed, "root/p/a.py"), (Created, "root/q/a.py")],
    },
    Case {
        name: "a folder that is moved away and back, and then written to",
        before: |at| put(at.join("root/p/q/a.py"), "1"),
        scope: plain,
        act: |at| {
            fs::rename(at.join("root/p"), at.join("p")).unwrap();
            fs::rename(at.join("p"), at.join("root/p")).unwrap();
            put(at.join("root/p/q/a.py"), "12");
        },
        reported: &[(Modified, "root/p/q/a.py")],
    },
    Case {
        name: "new folders with files in them",
        before: nothing,
        scope: plain,
        act: |at| put(at.join("root/p/q/r/a.py"), "1"),
        reported: &[(Created, "root/p/q/r/a.py")],
    },
    Case {
        name: "a folder that replaces a file",
        before: one_file,
        scope: plain,
        act: |at| {
            fs::remove_file(at.join("root/a.py")).unwrap();
            put(at.join("root/a.py/b.py"), "1");
        },
        reported: &[(Removed, "root/a.py"), (Created, "root/a.py/b.py")],
    },
    Case {
        name: "opening and reading",
        before: one_file,
        scope: plain,
        act: |at| {
            assert_eq!(fs::read_to_string(at.join("root/a.py")).unwrap(), "1");
            fs::OpenOptions::new().append(true).open(at.join("root/a.py")).unwrap();
            assert_eq!(fs::read_dir(at.join("root")).unwrap().count(), 1);
        },
        reported: &[],
    },
    Case {
        name: "temporary files of editors",
        before: nothing,
        scope: plain,
        act: |at| {
            for name in [".a.py.swp", "a.py~", "#a.py#", ".goutputstream-X"] {
                put(at.join("root").join(name), "1");
            }
            symlink("user@host.1:2", at.join("root/.#a.py")).unwrap();
        },
        reported: &[],
    },
    Case {
        name: "folders that are always ignored",
        before: |at| put(at.join("root/target/debug/old"), "1"),
        scope: plain,
        act: |at| {
            put(at.join("root/target/debug/old"), "12");
            put(at.join("root/node_modules/x/index.js"), "1");
            put(at.join("root/p/__pycache__/a.pyc"), "1");
            put(at.join("root/.git/index"), "1");
        },
        reported: &[],
    },
    Case {
        name: "files that git ignores, with nested rules and exceptions",
        before: |at| {
            put(at.join("root/.gitignore"), "*.log\nbuild/\n");
            put(at.join("root/p/.gitignore"), "!keep.log\n/local.toml\n");
        },
        scope: plain,
        act: |at| {
            put(at.join("root/a.log"), "1");
            put(at.join("root/build/x"), "1");
            put(at.join("root/p/b.log"), "1");
            put(at.join("root/p/keep.log"), "1");
            put(at.join("root/p/local.toml"), "1");
            put(at.join("root/p/q/local.toml"), "1");
        },
        reported: &[(Created, "root/p/keep.log"), (Created, "root/p/q/local.toml")],
    },
    Case {
        name: "a .gitignore that changes",
        before: |at| {
            put(at.join("root/.gitignore"), "*.log\n");
            put(at.join("root/a.log"), "1");
            put(at.join("root/p/a.tmp"), "1");
        },
        scope: |_, scope| scope.suffixes = vec![".log".into(), ".tmp".into(), "-one".into()],
        act: |at| put(at.join("root/.gitignore"), "*.tmp\n"),
        reported: &[(Created, "root/a.log"), (Removed, "root/p/a.tmp")],
    },
    Case {
        name: "a .gitignore above the root, up to the top of the work tree",
        before: |at| {
            put(at.join(".git/HEAD"), "");
            put(at.join(".gitignore"), "*.log\n");
        },
        scope: plain,
        act: |at| {
            put(at.join("root/a.log"), "1");
            put(at.join("root/a.py"), "1");
        },
        reported: &[(Created, "root/a.py")],
    },
    Case {
        name: "files that git ignores, with gitignore switched off",
        before: |at| put(at.join("root/.gitignore"), "*.log\n"),
        scope: |_, scope| scope.gitignore = false,
        act: |at| put(at.join("root/a.log"), "1"),
        reported: &[(Created, "root/a.log")],
    },
    Case {
        name: "exclude patterns",
        before: |at| put(at.join("root/excluded.txt"), "1"),
        scope: |at, scope| {
            scope.exclude_patterns.push("*/static/*".into());
            scope.exclude_patterns.push(format!("{}/root/ex*.txt", at.display()));
            scope.extra_files.push(at.join("root/excluded.txt"));
        },
        act: |at| {
            put(at.join("root/static/deep/a.js"), "1");
            put(at.join("root/excluded.txt"), "12");
        },
        reported: &[],
    },
    Case {
        name: "suffixes",
        before: |at| put(at.join("root/named.txt"), "1"),
        scope: |at, scope| {
            scope.suffixes = vec![".py".into(), "-one".into()];
            scope.extra_files.push(at.join("root/named.txt"));
        },
        act: |at| {
            put(at.join("root/a.py"), "1");
            put(at.join("root/b.txt"), "1");
            put(at.join("root/named.txt"), "12");
        },
        reported: &[(Created, "root/a.py"), (Modified, "root/named.txt")],
    },
    Case {
        name: "an extra file outside the roots that is deleted and written again, and its neighbour",
        before: |at| put(at.join("etc/app.ini"), "1"),
        scope: |at, scope| scope.extra_files.push(at.join("etc/app.ini")),
        act: |at| {
            fs::remove_file(at.join("etc/app.ini")).unwrap();
            put(at.join("etc/app.ini"), "12");
            put(at.join("etc/other.ini"), "1");
        },
        reported: &[(Modified, "etc/app.ini")],
    },
    Case {
        name: "an extra folder, with its own rules but not those above",
        before: |at| {
            put(at.join(".git/HEAD"), "");
            put(at.join(".gitignore"), "etc/\n*.yml\n");
            put(at.join("etc/.gitignore"), "*.log");
        },
        scope: |at, scope| scope.extra_files.push(at.join("etc")),
        act: |at| {
            put(at.join("etc/a.yml"), "1");
            put(at.join("etc/a.log"), "1");
        },
        reported: &[(Created, "etc/a.yml")],
    },
    Case {
        name: "a glob among the extra files",
        before: |at| put(at.join("etc/sub/a.ini"), "1"),
        scope: |at, scope| scope.extra_files.push(at.join("etc/*/*.ini")),
        act: |at| {
            put(at.join("etc/sub/a.ini"), "12");
            put(at.join("etc/sub/b.ini"), "1");
            put(at.join("etc/new/c.ini"), "1");
            put(at.join("etc/sub/c.txt"), "1");
            put(at.join("etc/d.ini"), "1");
            put(at.join("etc/sub/deep/e.ini"), "1");
            put(at.join("etc/target/f.ini"), "1");
        },
        reported: &[(Modified, "etc/sub/a.ini"), (Created, "etc/sub/b.ini"), (Created, "etc/new/c.ini")],
    },
    Case {
        name: "a glob of any depth, over a root",
        before: |at| {
            put(at.join("root/.gitignore"), "*.ini\n");
            put(at.join("root/conf/x.txt"), "1");
        },
        scope: |at, scope| scope.extra_files.push(at.join("root/conf/**/*.ini")),
        act: |at| {
            put(at.join("root/a.ini"), "1");
            put(at.join("root/conf/b.ini"), "1");
            put(at.join("root/conf/p/q/c.ini"), "1");
            put(at.join("root/conf/target/d.ini"), "1");
        },
        reported: &[(Created, "root/conf/b.ini"), (Created, "root/conf/p/q/c.ini")],
    },
    Case {
        name: "an extra file that git ignores, also in an ignored folder",
        before: |at| {
            put(at.join("root/.gitignore"), ".env\nprivate/\n");
            put(at.join("root/.env"), "1");
            put(at.join("root/private/key"), "1");
            put(at.join("root/target/generated.rs"), "1");
        },
        scope: |at, scope| {
            for name in [".env", "private/key", "target/generated.rs"] {
                scope.extra_files.push(at.join("root").join(name));
            }
        },
        act: |at| {
            for name in [".env", "private/key", "private/other", "target/generated.rs", "target/other.rs"] {
                put(at.join("root").join(name), "12");
            }
        },
        reported: &[(Modified, "root/.env"), (Modified, "root/private/key"), (Modified, "root/target/generated.rs")],
    },
    Case {
        name: "an optional file that does not exist yet",
        before: |at| put(at.join("root/.gitignore"), "*.lock\n"),
        scope: |at, scope| scope.optional_files = vec![at.join("root/x.lock"), at.join("later/y.lock")],
        act: |at| {
            put(at.join("root/x.lock"), "1");
            put(at.join("root/z.lock"), "1");
        },
        reported: &[(Created, "root/x.lock")],
    },
    Case {
        name: "a folder that is ignored by its path",
        before: nothing,
        scope: |at, scope| scope.ignored_folders.push(at.join("root/out")),
        act: |at| {
            put(at.join("root/out/a"), "1");
            put(at.join("root/p/out/a"), "1");
        },
        reported: &[(Created, "root/p/out/a")],
    },
    Case {
        name: "a link to a folder outside",
        before: |at| {
            put(at.join("shared/a.py"), "1");
            symlink(at.join("shared"), at.join("root/link")).unwrap();
        },
        scope: plain,
        act: |at| {
            put(at.join("shared/a.py"), "12");
            put(at.join("shared/sub/b.py"), "1");
        },
        reported: &[(Modified, "root/link/a.py"), (Created, "root/link/sub/b.py")],
    },
    Case {
        name: "a link to a folder that is changed to another one",
        before: |at| {
            put(at.join("one/a.py"), "1");
            put(at.join("two/b.py"), "1");
            symlink(at.join("one"), at.join("root/link")).unwrap();
        },
        scope: plain,
        act: |at| {
            symlink(at.join("two"), at.join("root/new")).unwrap();
            fs::rename(at.join("root/new"), at.join("root/link")).unwrap();
            put(at.join("two/b.py"), "12");
        },
        reported: &[(Removed, "root/link/a.py"), (Created, "root/link/b.py")],
    },
    Case {
        name: "circular links, and a link to a folder that is watched already",
        before: |at| {
            put(at.join("root/p/a.py"), "1");
            symlink("..", at.join("root/p/up")).unwrap();
            symlink("../..", at.join("root/p/above")).unwrap();
            symlink("p", at.join("root/again")).unwrap();
            put(at.join("beside/b.py"), "1");
        },
        scope: plain,
        act: |at| {
            put(at.join("root/p/a.py"), "12");
            put(at.join("beside/b.py"), "12");
        },
        reported: &[(Modified, "root/p/a.py")],
    },
    Case {
        name: "a folder that is reachable by two links, one of which is removed",
        before: |at| {
            put(at.join("shared/a.py"), "1");
            symlink(at.join("shared"), at.join("root/one")).unwrap();
            symlink(at.join("shared"), at.join("root/two")).unwrap();
        },
        scope: plain,
        act: |at| {
            fs::remove_file(at.join("root/one")).unwrap();
            put(at.join("shared/b.py"), "1");
        },
        reported: &[(Removed, "root/one/a.py"), (Created, "root/two/a.py"), (Created, "root/two/b.py")],
    },
    Case {
        name: "links to files outside that are written and replaced",
        before: |at| {
            put(at.join("shared/a.toml"), "1");
            put(at.join("shared/b.toml"), "1");
            symlink(at.join("shared/a.toml"), at.join("root/a.toml")).unwrap();
            symlink(at.join("shared/b.toml"), at.join("root/b.toml")).unwrap();
        },
        scope: plain,
        act: |at| {
            put(at.join("shared/a.toml"), "12");
            put(at.join("shared/new"), "12");
            fs::rename(at.join("shared/new"), at.join("shared/b.toml")).unwrap();
        },
        reported: &[(Modified, "root/a.toml"), (Modified, "root/b.toml")],
    },
    Case {
        name: "a broken link that is replaced by a valid one",
        before: |at| symlink(at.join("nowhere"), at.join("root/link")).unwrap(),
        scope: plain,
        act: |at| {
            put(at.join("somewhere"), "1");
            symlink(at.join("somewhere"), at.join("root/new")).unwrap();
            fs::rename(at.join("root/new"), at.join("root/link")).unwrap();
        },
        reported: &[(Created, "root/link")],
    },
    Case {
        name: "an extra file in a folder that is watched under another path",
        before: |at| {
            put(at.join("root/.gitignore"), ".env\n");
            put(at.join("root/.env"), "1");
            symlink(at.join("root"), at.join("same")).unwrap();
        },
        scope: |at, scope| scope.extra_files.push(at.join("same/.env")),
        act: |at| put(at.join("root/.env"), "12"),
        reported: &[(Modified, "root/.env")],
    },
    Case {
        name: "pipes and sockets",
        before: nothing,
        scope: plain,
        act: |at| drop(std::os::unix::net::UnixListener::bind(at.join("root/socket")).unwrap()),
        reported: &[],
    },
];

fn run(backend: Backend) {
    let mut failures = Vec::new();
    for case in CASES {
        let folder = TestFolder::new();
        (case.before)(folder.path());
        let mut scope = folder.scope();
        (case.scope)(folder.path(), &mut scope);
        let mut watch = folder.watch(backend, scope);
        (case.act)(folder.path());
        let reported = folder.reported(&mut watch);
        let expected: Reported = case.reported.iter().map(|(kind, path)| (path.into(), *kind)).collect();
        if reported != expected {
            failures.push(format!("{}: {reported:?} instead of {expected:?}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn stat_reports_what_the_table_says() {
    run(Backend::Stat);
}

#[test]
fn notify_reports_what_the_table_says() {
    run(Backend::Notify);
}

#[test]
fn names_may_be_invalid_utf8() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let invalid = |name: &[u8]| PathBuf::from("root").join(OsStr::from_bytes(name));
        let (subfolder, file) = (invalid(b"fold\xe9r"), invalid(b"fil\xe9.py"));
        put(folder.path().join(&file), "1");
        let mut scope = folder.scope();
        scope.exclude_patterns.push("*/static/*".into());
        let mut watch = folder.watch(backend, scope);
        put(folder.path().join(&file), "12");
        put(folder.path().join(&subfolder).join("x.py"), "1");
        let expected = Reported::from([(file, Modified), (subfolder.join("x.py"), Created)]);
        assert_eq!(folder.reported(&mut watch), expected, "{backend}");
    }
}
