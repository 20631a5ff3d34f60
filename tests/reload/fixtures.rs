//! What this test binary does when it is started again: it serves an application under a supervisor.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use amboss::{
    run_simple, AppError, Body, Environ, OnLoadFailure, ReloaderType, RunError, RunErrorKind, RunOptions, StartResponse,
};

/// How often this process was asked for `/tab`, the page of an open browser tab.
static TABS: AtomicUsize = AtomicUsize::new(0);

/// Responds with its code and the process id; a few paths do something else before or instead.
pub fn app(code: &str, environ: &mut Environ<'_>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
    match &*environ.path() {
        b"/slow" => std::thread::sleep(Duration::from_secs(2)),
        b"/exit3" => std::process::exit(3),
        b"/die" => std::process::abort(),
        b"/stop" => environ.shutdown_server(),
        b"/environ" => {
            start.start("200 OK", &[("Content-Type", "text/plain")])?;
            let flags = ["wsgi.multithread", "wsgi.multiprocess"].map(|key| environ.text(key).into_owned());
            return Ok(Body::from(flags.join(" ")));
        }
        b"/tab" => {
            TABS.fetch_add(1, SeqCst);
        }
        b"/tabs" => {
            start.start("200 OK", &[("Content-Type", "text/plain")])?;
            return Ok(Body::from(format!("{code} {} {}", std::process::id(), TABS.load(SeqCst))));
        }
        _ => {}
    }
    start.start("200 OK", &[("Content-Type", "text/html")])?;
    Ok(Body::from(format!("{code} {}", std::process::id())))
}

/// Not a test: what a [`SupervisorProcess`](crate::supervisor_process::SupervisorProcess) runs. Environment variables
/// say with which options.
#[test]
#[ignore = "other tests start it"]
fn run() {
    let Some(folder) = std::env::var_os("AMBOSS_TEST_FOLDER").map(PathBuf::from) else { return };
    let is_set = |name| std::env::var_os(name).is_some();
    let mut options = RunOptions::default();
    options.extra_files = vec![folder.join("code")];
    options.workers = std::env::var("AMBOSS_TEST_WORKERS").unwrap().parse().unwrap();
    let supervised = is_set("AMBOSS_TEST_SUPERVISED");
    options.use_reloader = options.workers == 0 && !supervised;
    options.live_reload = is_set("AMBOSS_TEST_LIVE");
    if is_set("AMBOSS_TEST_ERROR_PAGE") {
        options.on_load_failure = OnLoadFailure::ErrorPage;
    }
    if is_set("AMBOSS_TEST_STAT") {
        options.reloader_type = ReloaderType::Stat;
        options.reloader_interval = Some(Duration::from_millis(50));
    }
    if is_set("AMBOSS_TEST_LOADER") {
        exit_with(crate::app_loader::run(&folder, options, supervised));
    }
    let code = std::fs::read_to_string(folder.join("code")).unwrap();
    // The process that serves the error page must start although the code is broken.
    if amboss::is_running_from_reloader() && code.starts_with("bad") && !is_set("AMBOSS_CHILD_ERROR_PAGE") {
        eprintln!("this code <can't> start");
        std::process::exit(1);
    }
    let app = move |environ: &mut Environ<'_>, start: &mut dyn StartResponse| app(&code, environ, start);
    exit_with(run_simple("127.0.0.1", 0, app, options));
}

fn exit_with(result: Result<(), RunError>) -> ! {
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => match error.kind() {
            RunErrorKind::Exit(code) => std::process::exit(*code),
            _ => panic!("{error}"),
        },
    }
}
