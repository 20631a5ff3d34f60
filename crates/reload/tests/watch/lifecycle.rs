//! What happens over time: bursts, roots that disappear and come back, wake-ups, parent folders that are renamed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use amboss_reload::ChangeKind::{Created, Modified, Removed};
use amboss_reload::{Backend, Scope, Watch};

use crate::support::{is_rerun, options, put, rerun, Reported, TestFolder, BACKENDS, TIMEOUT};

#[test]
fn a_burst_of_500_writes_causes_one_report() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        for number in 0..500 {
            put(folder.root().join(format!("p{}/f{number}.py", number % 10)), "1");
        }
        let mut options = options(backend);
        (options.debounce, options.debounce_closed) = (Duration::from_millis(500), Duration::from_millis(500));
        options.max_debounce = TIMEOUT;
        let mut watch = Watch::start(Scope::new(folder.scope()).expect("a scope"), options).expect("a watch");
        for number in 0..500 {
            put(folder.root().join(format!("p{}/f{number}.py", number % 10)), "12");
        }
        let changes = watch.next(Some(TIMEOUT)).expect("a report");
        assert_eq!(changes.iter().len(), 500, "{backend}");
        assert!(changes.iter().all(|change| change.kind == Modified), "{backend}");
        assert_eq!(watch.next(Some(Duration::from_millis(1))), None);
    }
}

#[test]
fn a_report_comes_even_if_changes_never_end() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let mut options = options(backend);
        (options.debounce, options.debounce_closed) = (TIMEOUT, TIMEOUT);
        options.max_debounce = Duration::from_millis(100);
        let mut watch = Watch::start(Scope::new(folder.scope()).expect("a scope"), options).expect("a watch");
        let finished = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    put(folder.root().join("a.py"), &number.to_string());
                    std::thread::sleep(Duration::from_millis(5));
                    if finished.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                }
            });
            let started = Instant::now();
            let reported = watch.next(Some(TIMEOUT)).is_some();
            finished.store(true, std::sync::atomic::Ordering::SeqCst);
            assert!(reported && started.elapsed() < TIMEOUT, "{backend}");
        });
    }
}

/// Only the events of Linux tell whether a file was closed.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_was_closed_or_moved_into_place_is_reported_early() {
    let folder = TestFolder::new();
    let at = |name: &str| folder.root().join(name);
    for name in ["written.py", "replaced.py", "open.py", "gone.py"] {
        put(at(name), "1");
    }
    let mut options = options(Backend::Notify);
    (options.debounce, options.max_debounce) = (TIMEOUT, TIMEOUT * 2);
    let mut watch = Watch::start(Scope::new(folder.scope()).expect("a scope"), options).expect("a watch");
    put(at("written.py"), "12");
    put(at("new.py"), "1");
    put(folder.path().join("temporary"), "12");
    fs::rename(folder.path().join("temporary"), at("replaced.py")).expect("the file exists");
    let started = Instant::now();
    let mut reported = folder.reported_until(&mut watch, |reported| reported.len() >= 3);
    let expected = [("new.py", Created), ("replaced.py", Modified), ("written.py", Modified)];
    assert_eq!(reported, expected.map(|(name, kind)| (Path::new("root").join(name), kind)).into());
    // A file that is still open delays the report of the others.
    let open = fs::OpenOptions::new().write(true).open(at("open.py")).expect("the file exists");
    open.set_len(0).expect("the file can be written");
    put(at("written.py"), "123");
    assert_eq!(watch.next(Some(Duration::from_millis(100))), None);
    drop(open);
    reported = folder.reported_until(&mut watch, |reported| reported.len() >= 2);
    assert_eq!(reported, ["open.py", "written.py"].map(|name| (Path::new("root").join(name), Modified)).into());
    assert!(started.elapsed() < TIMEOUT, "the reports took {:?}", started.elapsed());
    // A file that was deleted may be about to be written anew.
    fs::remove_file(at("gone.py")).expect("the file exists");
    assert_eq!(watch.next(Some(Duration::from_millis(100))), None);
    put(at("gone.py"), "12");
    assert_eq!(watch.next(Some(TIMEOUT / 2)).expect("a report").first().kind, Modified);
}

#[test]
fn no_change_is_lost_when_more_events_arrive_than_the_queue_keeps() {
    let folder = TestFolder::new();
    let mut watch = folder.watch(Backend::Notify, folder.scope());
    for number in 0..6000 {
        put(folder.root().join(format!("f{number}.py")), "1");
    }
    let reported = folder.reported_until(&mut watch, |reported| reported.len() == 6000);
    assert!(reported.values().all(|kind| *kind == Created));
}

#[test]
fn a_root_that_is_deleted_and_created_again_is_watched_again() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let file = Path::new("root/p/a.py");
        put(folder.path().join(file), "1");
        let mut watch = folder.watch(backend, folder.scope());
        for _ in 0..2 {
            fs::remove_dir_all(folder.root()).expect("the file exists");
            let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
            assert_eq!(reported, Reported::from([(file.into(), Removed)]), "{backend}");
            put(folder.path().join(file), "1");
            let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
            assert_eq!(reported, Reported::from([(file.into(), Created)]), "{backend}");
            put(folder.path().join(file), "12");
            let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
            assert_eq!(reported, Reported::from([(file.into(), Modified)]), "{backend}");
        }
    }
}

#[test]
fn renaming_a_folder_above_the_root_is_noticed() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let mut scope = folder.scope();
        scope.roots = vec![folder.path().join("a/b/project")];
        put(folder.path().join("a/b/project/x.py"), "1");
        let mut options = options(backend);
        options.root_check_interval = Duration::from_millis(50);
        let mut watch = Watch::start(Scope::new(scope).expect("a scope"), options).expect("a watch");
        fs::rename(folder.path().join("a"), folder.path().join("old")).expect("the file exists");
        put(folder.path().join("a/b/project/y.py"), "1");
        folder.reported_until(&mut watch, |reported| {
            *reported == Reported::from([("a/b/project/x.py".into(), Removed), ("a/b/project/y.py".into(), Created)])
        });
    }
}

#[test]
fn an_extra_file_is_watched_again_when_its_folder_is_created_again() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let file = Path::new("etc/app.ini");
        put(folder.path().join(file), "1");
        let mut scope = folder.scope();
        scope.extra_files.push(folder.path().join(file));
        let mut watch = folder.watch(backend, scope);
        fs::remove_dir_all(folder.path().join("etc")).expect("the file exists");
        let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
        assert_eq!(reported, Reported::from([(file.into(), Removed)]), "{backend}");
        put(folder.path().join(file), "1");
        let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
        assert_eq!(reported, Reported::from([(file.into(), Created)]), "{backend}");
    }
}

#[test]
fn the_waker_interrupts_the_wait_from_another_thread() {
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let mut watch = folder.watch(backend, folder.scope());
        let waker = watch.waker();
        waker.wake();
        assert_eq!(watch.next(Some(TIMEOUT)), None, "a wake-up before the wait ends that wait");
        let started = Instant::now();
        // The watch may also move to another thread.
        let waiting = std::thread::spawn(move || {
            assert_eq!(watch.next(None), None, "{backend}");
            watch
        });
        waker.wake();
        let mut watch = waiting.join().expect("the wait was interrupted");
        assert_eq!(watch.next(Some(Duration::ZERO)), None);
        assert!(started.elapsed() < TIMEOUT);
        put(folder.root().join("a.py"), "1");
        assert!(watch.next(Some(TIMEOUT)).is_some(), "the watch continues as before");
    }
}

#[test]
fn an_unreadable_folder_is_skipped_until_it_is_readable() {
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the folder is ours");
    let probe = TestFolder::new();
    mode(&probe.root(), 0);
    let reads_everything = fs::read_dir(probe.root()).is_ok();
    mode(&probe.root(), 0o755);
    if !is_rerun() && reads_everything {
        let wrapper = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        return rerun("lifecycle::an_unreadable_folder_is_skipped_until_it_is_readable", &wrapper, &[]);
    }
    for backend in BACKENDS {
        let folder = TestFolder::new();
        let secret = folder.root().join("secret");
        put(secret.join("a.py"), "1");
        put(folder.root().join("b.py"), "1");
        mode(&secret, 0);
        assert!(fs::read_dir(&secret).is_err());
        let mut watch = folder.watch(backend, folder.scope());
        put(folder.root().join("b.py"), "12");
        assert_eq!(folder.reported(&mut watch), Reported::from([("root/b.py".into(), Modified)]), "{backend}");
        mode(&secret, 0o755);
        let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
        assert_eq!(reported, Reported::from([("root/secret/a.py".into(), Created)]), "{backend}");
        put(secret.join("a.py"), "12");
        let reported = folder.reported_until(&mut watch, |reported| !reported.is_empty());
        assert_eq!(reported, Reported::from([("root/secret/a.py".into(), Modified)]), "{backend}");
    }
}
