//! What happens when the system reports no events, or allows too few watches.
//!
//! A user namespace has its own limits, which can be lowered without affecting other processes.

use std::fs;

use amboss_reload::ChangeKind::Created;
use amboss_reload::{Backend, Scope, ScopeErrorKind, ScopeOptions, Watch};
use amboss_testkit::skip;

use crate::support::{is_rerun, options, put, rerun, Reported, TestFolder};

const NAMESPACE: [&str; 3] = ["unshare", "--user", "--map-root-user"];

/// Lowers a limit. Prints a message and returns false where that is forbidden, as in some containers.
fn lower_limit(name: &str, limit: &str) -> bool {
    let lowered = fs::write(format!("/proc/sys/user/{name}"), limit);
    if let Err(error) = &lowered {
        skip(&format!("root of a namespace can't lower its limits here: {error}"));
    }
    lowered.is_ok()
}

fn folder_with_subfolders() -> TestFolder {
    let folder = TestFolder::new();
    for number in 0..5 {
        put(folder.root().join(format!("p{number}/a.py")), "1");
    }
    folder
}

/// Asserts that at the limit `auto` falls back to `stat` and names the limit, and `notify` is an error.
fn assert_fallback(name: &str, limit: Option<usize>) {
    let folder = folder_with_subfolders();
    let start = |backend| {
        let mut options = options(backend);
        options.watch_limit = limit;
        Watch::start(Scope::new(folder.scope()).expect("a scope"), options)
    };
    let mut watch = start(Backend::Auto).expect("auto always starts");
    assert_eq!(watch.backend(), Backend::Stat);
    let reason = watch.fallback_reason().expect("a reason is given");
    assert!(reason.contains(&format!("sysctl fs.inotify.{name}=")), "{reason}");
    put(folder.root().join("p4/b.py"), "1");
    assert_eq!(folder.reported(&mut watch), Reported::from([("root/p4/b.py".into(), Created)]));
    let error = start(Backend::Notify).expect_err("the limit is too low");
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(start(Backend::Stat).expect("stat needs no events").fallback_reason(), None);
}

#[test]
fn the_watch_falls_back_when_the_limit_of_watches_is_reached() {
    if !is_rerun() {
        return rerun("limits::the_watch_falls_back_when_the_limit_of_watches_is_reached", &NAMESPACE, &[]);
    }
    if lower_limit("max_inotify_watches", "3") {
        assert_fallback("max_user_watches", None);
    }
}

#[test]
fn the_watch_falls_back_when_the_limit_of_instances_is_reached() {
    if !is_rerun() {
        return rerun("limits::the_watch_falls_back_when_the_limit_of_instances_is_reached", &NAMESPACE, &[]);
    }
    if lower_limit("max_inotify_instances", "0") {
        assert_fallback("max_user_instances", None);
    }
}

#[test]
fn the_watch_falls_back_when_the_limit_in_its_options_is_reached() {
    assert_fallback("max_user_watches", Some(3));
}

#[test]
fn the_watch_falls_back_when_new_folders_exceed_the_limit() {
    for backend in [Backend::Auto, Backend::Notify] {
        let folder = folder_with_subfolders();
        let mut options = options(backend);
        options.watch_limit = Some(7);
        let mut watch = Watch::start(Scope::new(folder.scope()).expect("a scope"), options).expect("a watch");
        assert_eq!((watch.backend(), watch.fallback_reason()), (Backend::Notify, None));
        put(folder.root().join("new/deep/deeper/a.py"), "1");
        put(folder.root().join("p1/b.py"), "1");
        let expected =
            Reported::from([("root/new/deep/deeper/a.py".into(), Created), ("root/p1/b.py".into(), Created)]);
        assert_eq!(folder.reported(&mut watch), expected);
        assert_eq!(watch.backend(), Backend::Stat);
        assert!(watch.fallback_reason().is_some());
    }
}

#[test]
fn the_errors_of_a_scope_name_the_path() {
    let folder = TestFolder::new();
    let with = |extra: &str, root: &str| {
        let mut options = ScopeOptions::default();
        options.roots.push(folder.path().join(root));
        options.extra_files.push(folder.path().join(extra));
        Scope::new(options).expect_err("the scope is invalid")
    };
    let at = folder.path().display();
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
