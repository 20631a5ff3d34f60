//! Hosts: the application is made where it serves and nowhere else, and orders are heard while that takes its time.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss::{
    Address, AppLoader, Application, Environ, LaunchPlan, RunError, RunErrorKind, RunOptions, Server, ServerBuilder,
    StartResponse, Worker,
};

use crate::program::{app, eventually, is_alive, signal, Program, Told, ARGUMENTS};

/// What a [`Program`] is that was told to be a host. Its code says how the application is made.
struct Late {
    folder: PathBuf,
}

/// Says a line in one piece: the supervisor speaks to the same pipe.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl AppLoader for Late {
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        let pid = std::process::id();
        say(&format!("an application, supervised={} reloading={}", worker.is_supervised(), worker.is_reloading()));
        let code = std::fs::read_to_string(self.folder.join("code")).unwrap();
        if !code.contains("silent") {
            worker
                .report_files(&["code", ".venv/lib/module.py", "not/yet/there.py"].map(|name| self.folder.join(name)));
        }
        if code.contains("nonsense") {
            std::process::exit(2);
        }
        if code.starts_with("bad") {
            return Err(RunErrorKind::Reload(format!("{code} can't be made")).into());
        }
        if code.starts_with("slow") {
            say(&format!("slowly made by {pid};"));
            std::thread::park();
        }
        let worker = worker.clone();
        Ok(Arc::new(move |environ: &mut Environ<'_>, start: &mut dyn StartResponse| {
            if &*environ.path() == b"/replace-me" {
                worker.request_replacement();
            }
            app(&code, environ, start)
        }))
    }

    fn started(&mut self, _: &Server, _: &Worker) -> Result<(), RunError> {
        say(&format!("started as {}", std::env::var("AMBOSS_TEST_COMMAND").unwrap_or_default()));
        Ok(())
    }
}

/// Says by its environment which of the command lines it was.
fn command_line(name: &str) -> Option<Vec<OsString>> {
    let mut words: Vec<OsString> = vec!["env".into(), format!("AMBOSS_TEST_COMMAND={name}").into()];
    words.push(std::env::current_exe().unwrap().into());
    words.extend(ARGUMENTS.map(Into::into));
    Some(words)
}

/// In the process that a [`Program`] is, and in those that it starts.
pub fn run(folder: &Path, mut options: RunOptions, supervised: bool) -> Result<(), RunError> {
    let mut plan = LaunchPlan::default();
    plan.supervised = supervised;
    plan.respawn_command = command_line("again");
    plan.error_page_command = command_line("page");
    plan.watch_reported = true;
    // What is watched, the children say.
    options.extra_files.clear();
    if std::env::var_os("AMBOSS_TEST_FORKED").is_some() {
        return run_forking(folder, options, plan);
    }
    let late = Late { folder: folder.into() };
    ServerBuilder::with_loader(late).bind(Address::new("127.0.0.1", 0)).options(options).launch(plan).run()
}

/// The application is made once, here; the copies of this process have it.
fn run_forking(folder: &Path, options: RunOptions, mut plan: LaunchPlan) -> Result<(), RunError> {
    let mut late = Late { folder: folder.into() };
    let app = late.load_app(&Worker::default())?;
    let of_copies = options.clone();
    plan.fork = Some(Arc::new(move |forked| match fork::fork()? {
        fork::Fork::Parent(pid) => Ok(pid.unsigned_abs()),
        fork::Fork::Child => {
            let there = ServerBuilder::with_loader(There(app.clone()));
            let served = there.options(of_copies.clone()).run_forked(forked);
            std::process::exit(i32::from(served.is_err()));
        }
    }));
    ServerBuilder::with_loader(Nowhere).bind(Address::new("127.0.0.1", 0)).options(options).launch(plan).run()
}

/// An application that is in memory.
struct There(Arc<dyn Application>);

impl AppLoader for There {
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        assert!(worker.is_supervised() && !worker.is_reloading() && amboss::is_running_from_reloader());
        Ok(self.0.clone())
    }
}

/// The supervisor's side of it.
struct Nowhere;

impl AppLoader for Nowhere {
    fn load_app(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        panic!("nothing is served by the supervisor");
    }
}

/// The process that says that it makes its application slowly.
fn who_is_slow(program: &Program) -> u32 {
    let mut pid = None;
    eventually("a child makes its application", || {
        pid = program.said().split("slowly made by ").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

#[test]
fn an_application_is_made_only_where_it_serves_and_by_the_command_line_for_that() {
    let program = Program::start("host", Told { host: true, ..Told::default() });
    program.wait_for("good 0");
    program.wait_for_word("started as again");
    assert_eq!(program.said().matches("an application").count(), 1, "{}", program.said());
    assert!(program.said().contains("supervised=true reloading=true"), "{}", program.said());
    program.save("good 1");
    program.wait_for("good 1");
    eventually("it was said", || program.said().matches("started as again").count() == 2);
    assert_eq!(program.said().matches("an application").count(), 2, "{}", program.said());
}

#[test]
fn the_page_has_a_command_line_of_its_own_and_makes_no_application() {
    let program = Program::start("host-page", Told { host: true, error_page: true, ..Told::default() });
    program.wait_for("good 0");
    program.save("bad 1");
    let page = program.wait_for_page("/");
    assert!(page.contains("can&#x27;t be made"), "{page}");
    program.wait_for_word("started as page");
    assert_eq!(program.said().matches("an application").count(), 2, "{}", program.said());
    program.save("good 2");
    program.wait_for("good 2");
}

#[test]
fn while_there_is_only_the_page_each_save_shows_what_is_wrong_now() {
    for error_page in [false, true] {
        let name = if error_page { "host-pages" } else { "host-only-page" };
        let told = Told { host: true, error_page, code: Some("bad 0"), ..Told::default() };
        let program = Program::start(name, told);
        let shows = |code: &str| {
            let word = format!("{code} can&#x27;t be made");
            eventually(&word, || program.get("/").is_some_and(|(status, page)| status == 503 && page.contains(&word)));
        };
        shows("bad 0");
        for code in ["bad 1", "bad 2"] {
            program.save(code);
            shows(code);
        }
        program.save("good 3");
        program.wait_for("good 3");
        program.save("bad 4");
        if error_page {
            shows("bad 4");
        } else {
            program.wait_for_word("the old code keeps serving");
            assert!(program.get("/").unwrap().1.starts_with("good 3"));
        }
    }
}

#[test]
fn without_a_reloader_a_program_that_makes_no_sense_ends_everything() {
    let told = Told { host: true, workers: 2, code: Some("bad nonsense"), ..Told::default() };
    let mut program = Program::start("host-nonsense", told);
    assert_eq!(program.ends(), Some(2), "{}", program.said());
    // What may mend itself is tried again, and no page is shown to strangers.
    let told = Told { host: true, workers: 2, code: Some("bad"), ..Told::default() };
    let program = Program::start("host-retry", told);
    program.wait_for_word("trying again in 200 ms");
    program.save("good 1");
    program.wait_for("good 1");
    assert!(!program.said().contains("page"), "{}", program.said());
}

#[test]
fn what_children_report_is_watched_also_where_nobody_would_look_and_before_it_is_there() {
    let program = Program::start("host-reports", Told { host: true, ..Told::default() });
    program.wait_for("good 0");
    for name in [".venv/lib/module.py", "not/yet/there.py"] {
        let applications = program.said().matches("an application").count();
        program.write(name, "");
        eventually("it is made again", || program.said().matches("an application").count() > applications);
        program.wait_for_word(name);
    }
    program.save("good 1");
    program.wait_for("good 1");
    // What only the old ones have reported stays.
    program.save("good 2 silent");
    program.wait_for("good 2");
    program.save("good 3");
    program.wait_for("good 3");
}

#[test]
fn code_that_dies_before_it_has_reported_anything_is_mended_by_a_save() {
    let program = Program::start("host-silent", Told { host: true, code: Some("bad silent"), ..Told::default() });
    eventually("the page is there", || program.get("/").is_some_and(|(status, _)| status == 503));
    assert!(program.get("/").unwrap().1.contains("can&#x27;t be made"));
    // Nobody knows of this file.
    program.save("good 1");
    eventually("new code serves", || {
        if !program.said().contains("Detected change") {
            program.write("app.py", &program.said());
        }
        program.get("/").is_some_and(|(status, answer)| status == 200 && answer.starts_with("good 1"))
    });
    program.save("good 2");
    program.wait_for("good 2");
}

#[test]
fn who_is_not_wanted_any_more_ends_while_it_makes_its_application() {
    let mut program = Program::start("host-slow", Told { host: true, ..Told::default() });
    program.wait_for("good 0");
    program.save("slow 1");
    let slow = who_is_slow(&program);
    program.save("good 2");
    program.wait_for("good 2");
    eventually("it is gone", || !is_alive(slow));
    assert!(!program.said().contains("before it was ready"), "{}", program.said());
    program.signal("TERM");
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_supervisor_that_is_killed_takes_those_along_that_make_their_application() {
    let mut program = Program::start("host-killed", Told { host: true, ..Told::default() });
    let serving = program.wait_for("good 0");
    program.save("slow 1");
    let slow = who_is_slow(&program);
    signal(program.child.id(), "KILL");
    assert_eq!(program.ends(), None);
    eventually("nobody is left", || !is_alive(serving) && !is_alive(slow));
}

#[test]
fn the_environ_of_workers_tells_of_the_others() {
    for (workers, multiprocess) in [(0, "false"), (2, "true")] {
        let program = Program::start("host-environ", Told { host: true, workers, ..Told::default() });
        program.wait_for("good 0");
        assert_eq!(program.get("/environ").unwrap().1, format!("true {multiprocess}"), "{workers}");
    }
}

#[test]
fn a_single_process_can_have_a_supervisor_without_reloading() {
    let program = Program::start("host-supervised", Told { host: true, supervised: true, ..Told::default() });
    let first = program.wait_for("good 0");
    program.wait_for_word("supervised=true reloading=false");
    let _ = program.get("/die");
    eventually("it is gone", || !is_alive(first));
    program.wait_for("good 0");
}

#[test]
fn who_asks_to_be_replaced_hands_its_connections_on() {
    let program = Program::start("host-successor", Told { host: true, supervised: true, ..Told::default() });
    let first = program.wait_for("good 0");
    let mut kept = program.connect().unwrap();
    let mut running = program.connect().unwrap();
    running.send("/slow").unwrap();
    assert_eq!(kept.get("/replace-me").unwrap().1, format!("good 0 {first}"));
    let mut second = first;
    eventually("another process answers on the same connection", || {
        second = kept.get("/").unwrap().1.rsplit(' ').next().unwrap().parse().unwrap();
        second != first
    });
    assert_eq!(running.answer().unwrap().1, format!("good 0 {first}"));
    assert_eq!(running.get("/").unwrap().1, format!("good 0 {second}"));
    eventually("the first is gone", || !is_alive(first));
    assert!(!program.said().contains("died"), "{}", program.said());
}

#[test]
fn an_application_can_be_made_once_for_all_workers() {
    let mut program = Program::start("host-forked", Told { forked: true, workers: 2, ..Told::default() });
    program.wait_for("good 0");
    let old = program.workers(2);
    assert_ne!(old[0], old[1]);
    assert_eq!(program.get("/environ").unwrap().1, "true true");
    let mut kept = program.connect().unwrap();
    let mut running = program.connect().unwrap();
    assert_eq!(kept.get("/").unwrap().0, 200);
    running.send("/slow").unwrap();
    let _ = kept.get("/").unwrap();
    program.signal("HUP");
    eventually("the connection went on to a new one", || {
        let answer = kept.get("/").unwrap().1;
        !old.iter().any(|pid| answer.ends_with(&format!(" {pid}")))
    });
    assert_eq!(running.answer().unwrap().0, 200);
    eventually("the old ones are gone", || !old.iter().any(|&pid| is_alive(pid)));
    let new = program.workers(2);
    signal(new[0], "KILL");
    eventually("it is replaced", || program.said().contains("died"));
    program.workers(2);
    assert_eq!(program.said().matches("an application").count(), 1, "{}", program.said());
    program.signal("TERM");
    assert_eq!(program.ends(), Some(0));
    let port = program.port;
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[test]
fn a_supervisor_that_is_killed_takes_its_copies_along() {
    let mut program = Program::start("host-forked-killed", Told { forked: true, workers: 2, ..Told::default() });
    program.wait_for("good 0");
    let workers = program.workers(2);
    signal(program.child.id(), "KILL");
    assert_eq!(program.ends(), None);
    eventually("nobody is left", || !workers.iter().any(|&pid| is_alive(pid)));
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", program.port)).is_ok());
}

#[test]
fn what_is_in_memory_is_not_reloaded() {
    let mut options = RunOptions::default();
    options.use_reloader = true;
    let mut plan = LaunchPlan::default();
    plan.fork = Some(Arc::new(|_| unreachable!()));
    let builder = ServerBuilder::with_loader(Nowhere).bind(Address::new("127.0.0.1", 0));
    let error = builder.options(options).launch(plan).run().unwrap_err();
    assert!(matches!(error.kind(), RunErrorKind::Options(_)) && error.to_string().contains("reloader"), "{error}");
}
