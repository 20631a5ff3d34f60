//! Files that are added while the watch runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use amboss_reload::ChangeKind::{Created, Modified, Removed};
use amboss_reload::{Scope, ScopeOptions, Watch};

use crate::support::{options, put, Reported, TestFolder, BACKENDS, TIMEOUT};

const INSTALLED: &str = "root/.venv/lib/site-packages/flask/app.py";
const CACHED: &str = "root/__pycache__/made.py";
const ELSEWHERE: &str = "usr/lib/os.py";
const MISSING: &str = "root/.venv/missing.py";
const FAR: &str = "not/yet/there.py";

/// A time after which nothing has been modified, so that no existing file counts as changed.
fn after_all_writes() -> SystemTime {
    SystemTime::now() + Duration::from_secs(1)
}

#[test]
fn added_files_are_watched_in_any_folder_but_their_neighbours_are_not() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let at = |path: &str| folder.path().join(path);
        for path in [INSTALLED, CACHED, ELSEWHERE, "root/.venv/lib/site-packages/flask/other.py", "usr/lib/re.py"] {
            put(at(path), "1");
        }
        let mut watch = folder.watch(backend, folder.scope());
        assert!(watch.waker().add_files([INSTALLED, CACHED, ELSEWHERE, MISSING, FAR].map(at), after_all_writes()));
        assert_eq!(
            folder.reported(&mut watch),
            Reported::new(),
            "{backend}: adding a file that exists is not a change"
        );
        put(at("root/.venv/lib/site-packages/flask/other.py"), "12");
        put(at("usr/lib/re.py"), "12");
        put(at("root/.venv/other.py"), "12");
        for path in [INSTALLED, CACHED, MISSING] {
            put(at(path), "12");
        }
        fs::remove_file(at(ELSEWHERE)).unwrap();
        let expected = [(INSTALLED, Modified), (CACHED, Modified), (MISSING, Created), (ELSEWHERE, Removed)];
        assert_eq!(folder.reported(&mut watch), expected.map(|(path, kind)| (path.into(), kind)).into(), "{backend}");
        // A file whose folder did not exist either.
        put(at(FAR), "1");
        folder.reported_until(&mut watch, |reported| *reported == Reported::from([(FAR.into(), Created)]));
        for path in [MISSING, ELSEWHERE, FAR] {
            put(at(path), "123");
        }
        let expected = [(MISSING, Modified), (ELSEWHERE, Created), (FAR, Modified)];
        folder.reported_until(&mut watch, |reported| {
            *reported == expected.map(|(path, kind)| (path.into(), kind)).into()
        });
    }
}

#[test]
fn files_of_the_same_folder_can_be_added_later() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let path = |number: usize| PathBuf::from(format!("lib/f{number}.py"));
        for number in 0..3 {
            put(folder.path().join(path(number)), "1");
        }
        let mut watch = folder.watch(backend, folder.scope());
        for number in 0..2 {
            watch
                .waker()
                .add_files([folder.path().join(path(number)), folder.path().join(path(0))], after_all_writes());
            assert_eq!(folder.reported(&mut watch), Reported::new(), "{backend}");
        }
        for number in 0..3 {
            put(folder.path().join(path(number)), "12");
        }
        assert_eq!(
            folder.reported(&mut watch),
            Reported::from([(path(0), Modified), (path(1), Modified)]),
            "{backend}"
        );
    }
}

#[test]
fn excluded_files_stay_excluded() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let mut scope = folder.scope();
        scope.exclude_patterns.push("*/lib/*".into());
        let mut watch = folder.watch(backend, scope);
        watch.waker().add_files([folder.path().join("lib/a.py")], after_all_writes());
        put(folder.path().join("lib/a.py"), "1");
        assert_eq!(folder.reported(&mut watch), Reported::new(), "{backend}");
    }
}

#[test]
fn the_number_of_added_files_is_limited_and_repetitions_do_not_count() {
    let folder = TestFolder::new();
    let mut options = options(BACKENDS[0]);
    options.max_added_files = 2;
    let watch = Watch::start(Scope::new(folder.scope()).unwrap(), options).unwrap();
    let waker = watch.waker();
    for _ in 0..3 {
        assert!(waker.add_files(["/a", "/b"].map(PathBuf::from), after_all_writes()));
    }
    assert!(!waker.add_files(["/a", "/c"].map(PathBuf::from), after_all_writes()));
    assert!(waker.add_files(["/b"].map(PathBuf::from), after_all_writes()));
}

#[test]
fn a_file_that_is_added_during_a_wait_is_watched_without_ending_it() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let file = folder.path().join("lib/a.py");
        put(&file, "1");
        let mut watch = folder.watch(backend, folder.scope());
        let waker = watch.waker();
        let waiting = std::thread::spawn(move || watch.next(Some(TIMEOUT)));
        waker.add_files([file.clone()], after_all_writes());
        // The test cannot see when the watch takes the file, so it writes until a change is reported.
        while !waiting.is_finished() {
            let text = fs::read_to_string(&file).unwrap() + "2";
            put(&file, &text);
            std::thread::sleep(Duration::from_millis(20));
        }
        let changes = waiting.join().unwrap().expect("a change");
        assert_eq!(changes.first().path, file, "{backend}");
    }
}

#[test]
fn a_provisional_glob_is_watched_until_files_are_added() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let at = |path: &str| folder.path().join(path);
        for path in ["root/app/a.py", "root/app/a.txt", "root/app/b.py", "root/c.py"] {
            put(at(path), "1");
        }
        let mut scope = ScopeOptions::default();
        // `reported` writes this file last in each step.
        scope.optional_files.push(at("root/the-last-one"));
        let mut watch = folder.watch(backend, scope);
        watch.watch_until_files_are_added(&at("root/**/*.py")).unwrap();
        put(at("root/app/a.py"), "12");
        put(at("root/app/a.txt"), "12");
        assert_eq!(folder.reported(&mut watch), Reported::from([("root/app/a.py".into(), Modified)]), "{backend}");
        // This change comes before the file is added, so it is reported.
        put(at("root/app/b.py"), "12");
        watch.waker().add_files([at("root/c.py")], after_all_writes());
        assert_eq!(folder.reported(&mut watch), Reported::from([("root/app/b.py".into(), Modified)]), "{backend}");
        put(at("root/app/a.py"), "123");
        put(at("root/c.py"), "12");
        assert_eq!(folder.reported(&mut watch), Reported::from([("root/c.py".into(), Modified)]), "{backend}");
        watch.watch_until_files_are_added(&at("root/**/*.py")).unwrap();
        put(at("root/app/a.py"), "1234");
        assert_eq!(folder.reported(&mut watch), Reported::new(), "{backend}: files were added already");
    }
}

#[test]
fn a_save_while_the_first_files_are_added_is_not_lost() {
    for backend in BACKENDS {
        for round in 0..15 {
            let folder = TestFolder::new();
            let at = |path: &str| folder.path().join(path);
            // Scanning these takes a while.
            for number in 0..150 {
                put(at(&format!("root/app/{number}/a.py")), "1");
            }
            put(at("root/config"), "1");
            let mut scope = ScopeOptions::default();
            scope.optional_files.extend([at("root/config"), at("root/the-last-one")]);
            let mut watch = folder.watch(backend, scope);
            watch.watch_until_files_are_added(&at("root/**/*.py")).unwrap();
            assert_eq!(folder.reported(&mut watch), Reported::new());
            watch.waker().add_files([at("root/app/1/a.py")], after_all_writes());
            let config = at("root/config");
            let saving = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(500 * round));
                put(config, "12");
            });
            folder
                .reported_until(&mut watch, |reported| *reported == Reported::from([("root/config".into(), Modified)]));
            saving.join().unwrap();
        }
    }
}

#[test]
fn an_added_file_stays_watched_when_its_folder_is_replaced_between_two_checks() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let file = Path::new("root/data/ignored");
        put(folder.root().join(".gitignore"), "ignored");
        put(folder.path().join(file), "1");
        let mut watch = folder.watch(backend, folder.scope());
        watch.waker().add_files([folder.path().join(file)], after_all_writes());
        assert_eq!(folder.reported(&mut watch), Reported::new());
        fs::rename(folder.root().join("data"), folder.path().join("old")).unwrap();
        put(folder.path().join(file), "1");
        folder.reported_until(&mut watch, |reported| *reported == Reported::from([(file.into(), Modified)]));
        put(folder.path().join(file), "12");
        assert_eq!(folder.reported(&mut watch), Reported::from([(file.into(), Modified)]), "{backend}");
    }
}

#[test]
fn a_file_that_was_modified_after_the_process_started_counts_as_changed() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let at = |path: &str| folder.path().join(path);
        put(at("root/watched.py"), "1");
        let mut watch = folder.watch(backend, folder.scope());
        put(at("lib/old.py"), "1");
        // The clock of a file system advances in steps.
        let written = fs::metadata(at("lib/old.py")).unwrap().modified().unwrap();
        let mut since = SystemTime::now();
        while since < written + Duration::from_millis(20) {
            since = SystemTime::now();
        }
        put(at("lib/new.py"), "1");
        put(at("lib/from_the_future.py"), "1");
        let future = fs::File::options().write(true).open(at("lib/from_the_future.py")).unwrap();
        future.set_modified(since + TIMEOUT * 100).unwrap();
        put(at("root/watched.py"), "12");
        folder
            .reported_until(&mut watch, |reported| *reported == Reported::from([("root/watched.py".into(), Modified)]));
        let files = ["lib/old.py", "lib/new.py", "lib/from_the_future.py", "root/watched.py"];
        watch.waker().add_files(files.map(at), since);
        assert_eq!(folder.reported(&mut watch), Reported::from([("lib/new.py".into(), Modified)]), "{backend}");
    }
}
