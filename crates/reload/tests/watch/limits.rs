//! What happens when the system gives no events, or not enough of them.
//!
//! A user namespace has limits of its own, which can be lowered without touching anybody else's.

use std::fs;

use amboss_reload::ChangeKind::Created;
use amboss_reload::{Backend, Scope, ScopeErrorKind, ScopeOptions, Watch, WatchErrorKind};

use crate::support::{again, is_again, options, put, Place, Seen};

const NAMESPACE: [&str; 3] = ["unshare", "--user", "--map-root-user"];

/// False, said aloud, where containers keep that from everybody.
fn lower(name: &str, limit: &str) -> bool {
    let lowered = fs::write(format!("/proc/sys/user/{name}"), limit);
    if let Err(error) = &lowered {
        eprintln!("skipped: root of a namespace can't lower its limits here: {error}");
    }
    lowered.is_ok()
}

fn place_with_folders() -> Place {
    let place = Place::new();
    for number in 0..5 {
        put(place.root().join(format!("p{number}/a.py")), "1");
    }
    place
}

/// Whichever way the limit came about: auto goes on with stat and says what to raise, notify is an error.
fn falls_back(name: &str, limit: Option<usize>) {
    let place = place_with_folders();
    let start = |backend| {
        let mut options = options(backend);
        options.watch_limit = limit;
        Watch::start(Scope::new(place.scope()).expect("a scope"), options)
    };
    let mut watch = start(Backend::Auto).expect("auto always works");
    assert_eq!(watch.backend(), Backend::Stat);
    let reason = watch.fallback_reason().expect("it says why");
    assert!(reason.contains(&format!("sysctl fs.inotify.{name}=")), "{reason}");
    put(place.root().join("p4/b.py"), "1");
    assert_eq!(place.seen(&mut watch), Seen::from([("root/p4/b.py".into(), Created)]));
    let error = start(Backend::Notify).expect_err("there are not enough");
    assert_eq!(error.kind(), WatchErrorKind::NoEvents);
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(start(Backend::Stat).expect("stat needs no events").fallback_reason(), None);
}

#[test]
fn the_limit_of_watches_is_reached() {
    if !is_again() {
        return again("limits::the_limit_of_watches_is_reached", &NAMESPACE, &[]);
    }
    if lower("max_inotify_watches", "3") {
        falls_back("max_user_watches", None);
    }
}

#[test]
fn the_limit_of_instances_is_reached() {
    if !is_again() {
        return again("limits::the_limit_of_instances_is_reached", &NAMESPACE, &[]);
    }
    if lower("max_inotify_instances", "0") {
        falls_back("max_user_instances", None);
    }
}

#[test]
fn the_limit_of_watches_is_reached_wherever_tests_run() {
    falls_back("max_user_watches", Some(3));
}

#[test]
fn new_folders_exceed_the_limit_later() {
    for backend in [Backend::Auto, Backend::Notify] {
        let place = place_with_folders();
        let mut options = options(backend);
        options.watch_limit = Some(7);
        let mut watch = Watch::start(Scope::new(place.scope()).expect("a scope"), options).expect("a watch");
        assert_eq!((watch.backend(), watch.fallback_reason()), (Backend::Notify, None));
        put(place.root().join("new/deep/deeper/a.py"), "1");
        put(place.root().join("p1/b.py"), "1");
        let expected = Seen::from([("root/new/deep/deeper/a.py".into(), Created), ("root/p1/b.py".into(), Created)]);
        assert_eq!(place.seen(&mut watch), expected);
        assert_eq!(watch.backend(), Backend::Stat);
        assert!(watch.fallback_reason().is_some());
    }
}

#[test]
fn what_cant_be_watched_is_a_sentence() {
    let place = Place::new();
    let with = |extra: &str, root: &str| {
        let mut options = ScopeOptions::default();
        options.roots.push(place.path().join(root));
        options.extra_files.push(place.path().join(extra));
        Scope::new(options).expect_err("it can't be watched")
    };
    let at = place.path().display();
    let cases = [
        (with("no.ini", "root"), ScopeErrorKind::Missing, format!("'{at}/no.ini', the extra file, isn't there; ")),
        (with("root", "no"), ScopeErrorKind::Missing, format!("'{at}/no', the folder to watch, isn't there; ")),
        (with("no/*.ini", "root"), ScopeErrorKind::Missing, format!("'{at}/no', the folder of the pattern ")),
        (with("root/[a", "root"), ScopeErrorKind::Glob, format!("The pattern '{at}/root/[a' among the extra files ")),
        (with("root/{a", "root"), ScopeErrorKind::Glob, format!("The pattern '{at}/root/{{a' among the extra files ")),
    ];
    for (error, kind, sentence) in cases {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(&sentence), "{error}");
    }
}
