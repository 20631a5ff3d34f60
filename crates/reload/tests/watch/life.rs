//! What happens over time: bursts, roots that go and come back, wake-ups, folders above that are renamed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use amboss_reload::ChangeKind::{Created, Modified, Removed};
use amboss_reload::{Backend, Scope, Watch};

use crate::support::{again, is_again, options, put, Place, Seen, BACKENDS, PATIENCE};

#[test]
fn a_burst_of_500_writes_is_one_report() {
    for backend in BACKENDS {
        let place = Place::new();
        for number in 0..500 {
            put(place.root().join(format!("p{}/f{number}.py", number % 10)), "1");
        }
        let mut options = options(backend);
        (options.quiet, options.complete) = (Duration::from_millis(500), Duration::from_millis(500));
        options.settle = PATIENCE;
        let mut watch = Watch::start(Scope::new(place.scope()).expect("a scope"), options).expect("a watch");
        for number in 0..500 {
            put(place.root().join(format!("p{}/f{number}.py", number % 10)), "12");
        }
        let changes = watch.next(Some(PATIENCE)).expect("a report");
        assert_eq!(changes.as_slice().len(), 500, "{backend}");
        assert!(changes.iter().all(|change| change.kind == Modified), "{backend}");
        assert_eq!(watch.next(Some(Duration::from_millis(1))), None);
    }
}

#[test]
fn a_report_comes_even_if_changes_never_end() {
    for backend in BACKENDS {
        let place = Place::new();
        let mut options = options(backend);
        (options.quiet, options.complete) = (PATIENCE, PATIENCE);
        options.settle = Duration::from_millis(100);
        let mut watch = Watch::start(Scope::new(place.scope()).expect("a scope"), options).expect("a watch");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    put(place.root().join("a.py"), &number.to_string());
                    std::thread::sleep(Duration::from_millis(5));
                    if over.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                }
            });
            let started = Instant::now();
            let reported = watch.next(Some(PATIENCE)).is_some();
            over.store(true, std::sync::atomic::Ordering::SeqCst);
            assert!(reported && started.elapsed() < PATIENCE, "{backend}");
        });
    }
}

/// Only events can tell that, and only Linux's do.
#[cfg(target_os = "linux")]
#[test]
fn what_was_closed_or_moved_into_its_place_is_not_waited_for() {
    let place = Place::new();
    let at = |name: &str| place.root().join(name);
    for name in ["written.py", "replaced.py", "open.py", "gone.py"] {
        put(at(name), "1");
    }
    let mut options = options(Backend::Notify);
    (options.quiet, options.settle) = (PATIENCE, PATIENCE * 2);
    let mut watch = Watch::start(Scope::new(place.scope()).expect("a scope"), options).expect("a watch");
    put(at("written.py"), "12");
    put(at("new.py"), "1");
    put(place.path().join("temporary"), "12");
    fs::rename(place.path().join("temporary"), at("replaced.py")).expect("it is there");
    let started = Instant::now();
    let mut seen = place.seen_until(&mut watch, |seen| seen.len() >= 3);
    let expected = [("new.py", Created), ("replaced.py", Modified), ("written.py", Modified)];
    assert_eq!(seen, expected.map(|(name, kind)| (Path::new("root").join(name), kind)).into());
    // One that isn't closed yet holds back the others.
    let open = fs::OpenOptions::new().write(true).open(at("open.py")).expect("it is there");
    open.set_len(0).expect("it can be written");
    put(at("written.py"), "123");
    assert_eq!(watch.next(Some(Duration::from_millis(100))), None);
    drop(open);
    seen = place.seen_until(&mut watch, |seen| seen.len() >= 2);
    assert_eq!(seen, ["open.py", "written.py"].map(|name| (Path::new("root").join(name), Modified)).into());
    assert!(started.elapsed() < PATIENCE, "it took {:?}", started.elapsed());
    // What is gone may be about to be written anew.
    fs::remove_file(at("gone.py")).expect("it is there");
    assert_eq!(watch.next(Some(Duration::from_millis(100))), None);
    put(at("gone.py"), "12");
    assert_eq!(watch.next(Some(PATIENCE / 2)).expect("a report").first().kind, Modified);
}

#[test]
fn more_events_than_are_kept_are_all_seen() {
    let place = Place::new();
    let mut watch = place.watch(Backend::Notify, place.scope());
    for number in 0..6000 {
        put(place.root().join(format!("f{number}.py")), "1");
    }
    let seen = place.seen_until(&mut watch, |seen| seen.len() == 6000);
    assert!(seen.values().all(|kind| *kind == Created));
}

#[test]
fn a_root_that_is_deleted_and_comes_back_is_watched_again() {
    for backend in BACKENDS {
        let place = Place::new();
        let file = Path::new("root/p/a.py");
        put(place.path().join(file), "1");
        let mut watch = place.watch(backend, place.scope());
        for _ in 0..2 {
            fs::remove_dir_all(place.root()).expect("it is there");
            let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
            assert_eq!(seen, Seen::from([(file.into(), Removed)]), "{backend}");
            put(place.path().join(file), "1");
            let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
            assert_eq!(seen, Seen::from([(file.into(), Created)]), "{backend}");
            put(place.path().join(file), "12");
            let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
            assert_eq!(seen, Seen::from([(file.into(), Modified)]), "{backend}");
        }
    }
}

#[test]
fn a_folder_above_the_root_may_be_renamed() {
    for backend in BACKENDS {
        let place = Place::new();
        let mut scope = place.scope();
        scope.roots = vec![place.path().join("a/b/project")];
        put(place.path().join("a/b/project/x.py"), "1");
        let mut options = options(backend);
        options.recheck = Duration::from_millis(50);
        let mut watch = Watch::start(Scope::new(scope).expect("a scope"), options).expect("a watch");
        fs::rename(place.path().join("a"), place.path().join("old")).expect("it is there");
        put(place.path().join("a/b/project/y.py"), "1");
        place.seen_until(&mut watch, |seen| {
            *seen == Seen::from([("a/b/project/x.py".into(), Removed), ("a/b/project/y.py".into(), Created)])
        });
    }
}

#[test]
fn an_extra_file_whose_folder_goes_and_comes_back() {
    for backend in BACKENDS {
        let place = Place::new();
        let file = Path::new("etc/app.ini");
        put(place.path().join(file), "1");
        let mut scope = place.scope();
        scope.extra_files.push(place.path().join(file));
        let mut watch = place.watch(backend, scope);
        fs::remove_dir_all(place.path().join("etc")).expect("it is there");
        let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
        assert_eq!(seen, Seen::from([(file.into(), Removed)]), "{backend}");
        put(place.path().join(file), "1");
        let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
        assert_eq!(seen, Seen::from([(file.into(), Created)]), "{backend}");
    }
}

#[test]
fn waking_interrupts_the_wait_from_another_thread() {
    for backend in BACKENDS {
        let place = Place::new();
        let mut watch = place.watch(backend, place.scope());
        let waker = watch.waker();
        waker.wake();
        assert_eq!(watch.next(Some(PATIENCE)), None, "a wake-up before the wait counts");
        let started = Instant::now();
        // The watch may go to another thread, too.
        let waiting = std::thread::spawn(move || {
            assert_eq!(watch.next(None), None, "{backend}");
            watch
        });
        waker.wake();
        let mut watch = waiting.join().expect("it was interrupted");
        assert_eq!(watch.next(Some(Duration::ZERO)), None);
        assert!(started.elapsed() < PATIENCE);
        put(place.root().join("a.py"), "1");
        assert!(watch.next(Some(PATIENCE)).is_some(), "it goes on as before");
    }
}

#[test]
fn a_folder_that_cant_be_read_is_skipped_until_it_can() {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    let probe = Place::new();
    mode(&probe.root(), 0);
    let reads_everything = fs::read_dir(probe.root()).is_ok();
    mode(&probe.root(), 0o755);
    if !is_again() && reads_everything {
        let around = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        return again("life::a_folder_that_cant_be_read_is_skipped_until_it_can", &around, &[]);
    }
    for backend in BACKENDS {
        let place = Place::new();
        let secret = place.root().join("secret");
        put(secret.join("a.py"), "1");
        put(place.root().join("b.py"), "1");
        mode(&secret, 0);
        assert!(fs::read_dir(&secret).is_err());
        let mut watch = place.watch(backend, place.scope());
        put(place.root().join("b.py"), "12");
        assert_eq!(place.seen(&mut watch), Seen::from([("root/b.py".into(), Modified)]), "{backend}");
        mode(&secret, 0o755);
        let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
        assert_eq!(seen, Seen::from([("root/secret/a.py".into(), Created)]), "{backend}");
        put(secret.join("a.py"), "12");
        let seen = place.seen_until(&mut watch, |seen| !seen.is_empty());
        assert_eq!(seen, Seen::from([("root/secret/a.py".into(), Modified)]), "{backend}");
    }
}
