//! Files that are added while the watch runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use amboss_reload::ChangeKind::{Created, Modified, Removed};
use amboss_reload::{Scope, ScopeOptions, Watch};

use crate::support::{options, put, Place, Seen, BACKENDS, PATIENCE};

const INSTALLED: &str = "root/.venv/lib/site-packages/flask/app.py";
const CACHED: &str = "root/__pycache__/made.py";
const ELSEWHERE: &str = "usr/lib/os.py";
const MISSING: &str = "root/.venv/missing.py";
const FAR: &str = "not/yet/there.py";

/// Whatever was written until now was so before anybody read it.
fn unread() -> SystemTime {
    SystemTime::now() + Duration::from_secs(1)
}

#[test]
fn added_files_count_wherever_they_are_and_what_is_beside_them_does_not() {
    for backend in BACKENDS {
        let place = Place::new();
        let at = |path: &str| place.path().join(path);
        for path in [INSTALLED, CACHED, ELSEWHERE, "root/.venv/lib/site-packages/flask/other.py", "usr/lib/re.py"] {
            put(at(path), "1");
        }
        let mut watch = place.watch(backend, place.scope());
        assert!(watch.waker().add_files([INSTALLED, CACHED, ELSEWHERE, MISSING, FAR].map(at), unread()));
        assert_eq!(place.seen(&mut watch), Seen::new(), "{backend}: that they are there is no change");
        put(at("root/.venv/lib/site-packages/flask/other.py"), "12");
        put(at("usr/lib/re.py"), "12");
        put(at("root/.venv/other.py"), "12");
        for path in [INSTALLED, CACHED, MISSING] {
            put(at(path), "12");
        }
        fs::remove_file(at(ELSEWHERE)).unwrap();
        let expected = [(INSTALLED, Modified), (CACHED, Modified), (MISSING, Created), (ELSEWHERE, Removed)];
        assert_eq!(place.seen(&mut watch), expected.map(|(path, kind)| (path.into(), kind)).into(), "{backend}");
        // One whose folder is not there, either.
        put(at(FAR), "1");
        place.seen_until(&mut watch, |seen| *seen == Seen::from([(FAR.into(), Created)]));
        for path in [MISSING, ELSEWHERE, FAR] {
            put(at(path), "123");
        }
        let expected = [(MISSING, Modified), (ELSEWHERE, Created), (FAR, Modified)];
        place.seen_until(&mut watch, |seen| *seen == expected.map(|(path, kind)| (path.into(), kind)).into());
    }
}

#[test]
fn more_files_of_a_folder_may_follow_and_the_first_stay() {
    for backend in BACKENDS {
        let place = Place::new();
        let path = |number: usize| PathBuf::from(format!("lib/f{number}.py"));
        for number in 0..3 {
            put(place.path().join(path(number)), "1");
        }
        let mut watch = place.watch(backend, place.scope());
        for number in 0..2 {
            watch.waker().add_files([place.path().join(path(number)), place.path().join(path(0))], unread());
            assert_eq!(place.seen(&mut watch), Seen::new(), "{backend}");
        }
        for number in 0..3 {
            put(place.path().join(path(number)), "12");
        }
        assert_eq!(place.seen(&mut watch), Seen::from([(path(0), Modified), (path(1), Modified)]), "{backend}");
    }
}

#[test]
fn excluded_files_stay_excluded() {
    for backend in BACKENDS {
        let place = Place::new();
        let mut scope = place.scope();
        scope.exclude_patterns.push("*/lib/*".into());
        let mut watch = place.watch(backend, scope);
        watch.waker().add_files([place.path().join("lib/a.py")], unread());
        put(place.path().join("lib/a.py"), "1");
        assert_eq!(place.seen(&mut watch), Seen::new(), "{backend}");
    }
}

#[test]
fn there_is_a_limit_and_repetitions_do_not_reach_it() {
    let place = Place::new();
    let mut options = options(BACKENDS[0]);
    options.added_files = 2;
    let watch = Watch::start(Scope::new(place.scope()).unwrap(), options).unwrap();
    let waker = watch.waker();
    for _ in 0..3 {
        assert!(waker.add_files(["/a", "/b"].map(PathBuf::from), unread()));
    }
    assert!(!waker.add_files(["/a", "/c"].map(PathBuf::from), unread()));
    assert!(waker.add_files(["/b"].map(PathBuf::from), unread()));
}

#[test]
fn adding_a_file_ends_no_wait_and_is_heeded_in_the_middle_of_it() {
    for backend in BACKENDS {
        let place = Place::new();
        let file = place.path().join("lib/a.py");
        put(&file, "1");
        let mut watch = place.watch(backend, place.scope());
        let waker = watch.waker();
        let waiting = std::thread::spawn(move || watch.next(Some(PATIENCE)));
        waker.add_files([file.clone()], unread());
        // When it is heeded can't be seen from outside.
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
fn a_glob_may_count_until_files_are_added() {
    for backend in BACKENDS {
        let place = Place::new();
        let at = |path: &str| place.path().join(path);
        for path in ["root/app/a.py", "root/app/a.txt", "root/app/b.py", "root/c.py"] {
            put(at(path), "1");
        }
        let mut scope = ScopeOptions::default();
        // The last file of each step.
        scope.optional_files.push(at("root/the-last-one"));
        let mut watch = place.watch(backend, scope);
        watch.watch_until_files_are_added(&at("root/**/*.py")).unwrap();
        put(at("root/app/a.py"), "12");
        put(at("root/app/a.txt"), "12");
        assert_eq!(place.seen(&mut watch), Seen::from([("root/app/a.py".into(), Modified)]), "{backend}");
        // This one comes before, and so is not forgotten.
        put(at("root/app/b.py"), "12");
        watch.waker().add_files([at("root/c.py")], unread());
        assert_eq!(place.seen(&mut watch), Seen::from([("root/app/b.py".into(), Modified)]), "{backend}");
        put(at("root/app/a.py"), "123");
        put(at("root/c.py"), "12");
        assert_eq!(place.seen(&mut watch), Seen::from([("root/c.py".into(), Modified)]), "{backend}");
        watch.watch_until_files_are_added(&at("root/**/*.py")).unwrap();
        put(at("root/app/a.py"), "1234");
        assert_eq!(place.seen(&mut watch), Seen::new(), "{backend}: too late for that");
    }
}

#[test]
fn a_save_while_the_first_files_are_added_is_not_lost() {
    for backend in BACKENDS {
        for round in 0..15 {
            let place = Place::new();
            let at = |path: &str| place.path().join(path);
            // Looking at these takes a while.
            for number in 0..150 {
                put(at(&format!("root/app/{number}/a.py")), "1");
            }
            put(at("root/config"), "1");
            let mut scope = ScopeOptions::default();
            scope.optional_files.extend([at("root/config"), at("root/the-last-one")]);
            let mut watch = place.watch(backend, scope);
            watch.watch_until_files_are_added(&at("root/**/*.py")).unwrap();
            assert_eq!(place.seen(&mut watch), Seen::new());
            watch.waker().add_files([at("root/app/1/a.py")], unread());
            let config = at("root/config");
            let saving = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(500 * round));
                put(config, "12");
            });
            place.seen_until(&mut watch, |seen| *seen == Seen::from([("root/config".into(), Modified)]));
            saving.join().unwrap();
        }
    }
}

#[test]
fn a_named_file_counts_also_when_its_folder_was_replaced_between_two_looks() {
    for backend in BACKENDS {
        let place = Place::new();
        let file = Path::new("root/data/ignored");
        put(place.root().join(".gitignore"), "ignored");
        put(place.path().join(file), "1");
        let mut watch = place.watch(backend, place.scope());
        watch.waker().add_files([place.path().join(file)], unread());
        assert_eq!(place.seen(&mut watch), Seen::new());
        fs::rename(place.root().join("data"), place.path().join("old")).unwrap();
        put(place.path().join(file), "1");
        place.seen_until(&mut watch, |seen| *seen == Seen::from([(file.into(), Modified)]));
        put(place.path().join(file), "12");
        assert_eq!(place.seen(&mut watch), Seen::from([(file.into(), Modified)]), "{backend}");
    }
}

#[test]
fn a_file_that_was_modified_while_it_was_being_read_counts_as_changed() {
    for backend in BACKENDS {
        let place = Place::new();
        let at = |path: &str| place.path().join(path);
        put(at("root/watched.py"), "1");
        let mut watch = place.watch(backend, place.scope());
        put(at("lib/old.py"), "1");
        // The clock of a file system goes in steps.
        let written = fs::metadata(at("lib/old.py")).unwrap().modified().unwrap();
        let mut since = SystemTime::now();
        while since < written + Duration::from_millis(20) {
            since = SystemTime::now();
        }
        put(at("lib/new.py"), "1");
        put(at("lib/from_the_future.py"), "1");
        let future = fs::File::options().write(true).open(at("lib/from_the_future.py")).unwrap();
        future.set_modified(since + PATIENCE * 100).unwrap();
        put(at("root/watched.py"), "12");
        place.seen_until(&mut watch, |seen| *seen == Seen::from([("root/watched.py".into(), Modified)]));
        let files = ["lib/old.py", "lib/new.py", "lib/from_the_future.py", "root/watched.py"];
        watch.waker().add_files(files.map(at), since);
        assert_eq!(place.seen(&mut watch), Seen::from([("lib/new.py".into(), Modified)]), "{backend}");
    }
}
