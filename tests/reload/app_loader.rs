//! Applications that are made only in the processes that serve, by an implementation of `AppLoader`. Signals and the end of
//! the supervisor take effect while an application is being made.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss::{
    Address, AppLoader, Application, Environ, LaunchPlan, RunError, RunErrorKind, RunOptions, Server, ServerBuilder,
    SourceKnowledge, StartResponse, Worker,
};

use amboss_testkit::{is_alive, rerun_arguments, send_signal, wait_for, wait_until};

use crate::fixtures::app;
use crate::supervisor_process::{process_id, SupervisorProcess, TestOptions, FIXTURE};

/// Makes the application of a [`SupervisorProcess`] that was started with `loader`. The code decides whether that
/// succeeds, fails or takes long.
struct CodeLoader {
    folder: PathBuf,
}

/// Prints a line with one write: the supervisor prints to the same pipe.
fn print_line(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl AppLoader for CodeLoader {
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        let pid = std::process::id();
        print_line(&format!(
            "an application, supervised={} reloading={}",
            worker.is_supervised(),
            worker.is_reloading()
        ));
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
            print_line(&format!("slowly made by {pid};"));
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
        print_line(&format!("started as {}", std::env::var("AMBOSS_TEST_COMMAND").unwrap_or_default()));
        Ok(())
    }
}

/// What is watched until the first process has reported its files.
struct CodeSources;

impl SourceKnowledge for CodeSources {
    fn watch_until_reported(&self) -> &str {
        "**/*.py"
    }

    fn file_changed(&self, _: &Path) {}

    fn files_in_output(&self, _: &[u8], _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Returns a command line that runs the fixture and tells it by an environment variable which of them was used.
fn command_line(name: &str) -> Option<Vec<OsString>> {
    let mut words: Vec<OsString> = vec!["env".into(), format!("AMBOSS_TEST_COMMAND={name}").into()];
    words.push(std::env::current_exe().unwrap().into());
    words.extend(rerun_arguments(FIXTURE).map(Into::into));
    Some(words)
}

/// Serves with a loader: in the process that a [`SupervisorProcess`] starts, and in those that this one starts.
pub fn run(folder: &Path, mut options: RunOptions, supervised: bool) -> Result<(), RunError> {
    let mut plan = LaunchPlan::default();
    plan.supervised = supervised;
    plan.respawn_command = command_line("again");
    plan.error_page_command = command_line("page");
    plan.watch_reported = true;
    plan.sources = Some(Arc::new(CodeSources));
    // Only the files that children report are watched.
    options.extra_files.clear();
    if std::env::var_os("AMBOSS_TEST_FORKED").is_some() {
        return run_forking(folder, options, plan);
    }
    let loader = CodeLoader { folder: folder.into() };
    ServerBuilder::with_loader(loader).bind(Address::new("127.0.0.1", 0)).options(options).launch(plan).run()
}

/// Makes the application once, in this process; its forks inherit it.
fn run_forking(folder: &Path, options: RunOptions, mut plan: LaunchPlan) -> Result<(), RunError> {
    let mut loader = CodeLoader { folder: folder.into() };
    let app = loader.load_app(&Worker::default())?;
    let worker_options = options.clone();
    plan.fork = Some(Arc::new(move |forked| match fork::fork()? {
        fork::Fork::Parent(pid) => Ok(pid.unsigned_abs()),
        fork::Fork::Child => {
            let builder = ServerBuilder::with_loader(LoadedApp(app.clone()));
            let served = builder.options(worker_options.clone()).run_forked(forked);
            std::process::exit(i32::from(served.is_err()));
        }
    }));
    ServerBuilder::with_loader(NoApp).bind(Address::new("127.0.0.1", 0)).options(options).launch(plan).run()
}

/// Returns an application that is in memory already.
struct LoadedApp(Arc<dyn Application>);

impl AppLoader for LoadedApp {
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        assert!(worker.is_supervised() && !worker.is_reloading() && amboss::is_running_from_reloader());
        Ok(self.0.clone())
    }
}

/// The loader of a supervisor, which never serves.
struct NoApp;

impl AppLoader for NoApp {
    fn load_app(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        panic!("the supervisor does not serve");
    }
}

/// Waits until a child makes its application slowly, and returns its process id.
fn wait_for_slow_child(program: &SupervisorProcess) -> u32 {
    wait_for("a child makes its application", || {
        program.stderr().split("slowly made by ").nth(1)?.split(';').next()?.parse().ok()
    })
}

#[test]
fn only_serving_processes_make_the_application_and_they_use_the_respawn_command() {
    let program = SupervisorProcess::start("loader", TestOptions { loader: true, ..TestOptions::default() });
    program.wait_for_code("good 0");
    program.wait_for_stderr("started as again");
    assert_eq!(program.stderr().matches("an application").count(), 1, "{}", program.stderr());
    assert!(program.stderr().contains("supervised=true reloading=true"), "{}", program.stderr());
    program.save("good 1");
    program.wait_for_code("good 1");
    wait_until("the second child has started", || program.stderr().matches("started as again").count() == 2);
    assert_eq!(program.stderr().matches("an application").count(), 2, "{}", program.stderr());
}

#[test]
fn the_error_page_has_its_own_command_and_makes_no_application() {
    let program = SupervisorProcess::start(
        "loader-page",
        TestOptions { loader: true, error_page: true, ..TestOptions::default() },
    );
    program.wait_for_code("good 0");
    program.save("bad 1");
    let page = program.wait_for_error_page("/");
    assert!(page.contains("can't be made"), "{page}");
    program.wait_for_stderr("started as page");
    assert_eq!(program.stderr().matches("an application").count(), 2, "{}", program.stderr());
    program.save("good 2");
    program.wait_for_code("good 2");
}

#[test]
fn the_error_page_shows_the_error_of_the_latest_save() {
    for error_page in [false, true] {
        let name = if error_page { "loader-pages" } else { "loader-only-page" };
        let options = TestOptions { loader: true, error_page, code: Some("bad 0"), ..TestOptions::default() };
        let program = SupervisorProcess::start(name, options);
        let wait_for_error = |code: &str| {
            let text = format!("{code} can't be made");
            wait_until(&format!("the page shows {text:?}"), || {
                program.try_get("/").is_some_and(|page| page.status == 503 && page.text().contains(&text))
            });
        };
        wait_for_error("bad 0");
        for code in ["bad 1", "bad 2"] {
            program.save(code);
            wait_for_error(code);
        }
        program.save("good 3");
        program.wait_for_code("good 3");
        program.save("bad 4");
        if error_page {
            wait_for_error("bad 4");
        } else {
            program.wait_for_stderr("the old code keeps serving");
            assert!(program.get("/").text().starts_with("good 3"));
        }
    }
}

#[test]
fn without_a_reloader_a_usage_error_ends_the_supervisor_and_other_failures_are_retried() {
    let options = TestOptions { loader: true, workers: 2, code: Some("bad nonsense"), ..TestOptions::default() };
    let mut program = SupervisorProcess::start("loader-nonsense", options);
    assert_eq!(program.wait_for_exit(), Some(2), "{}", program.stderr());
    // Other failures may be temporary and are retried; without a reloader there is no error page.
    let options = TestOptions { loader: true, workers: 2, code: Some("bad"), ..TestOptions::default() };
    let program = SupervisorProcess::start("loader-retry", options);
    program.wait_for_stderr("trying again in 200 ms");
    program.save("good 1");
    program.wait_for_code("good 1");
    assert!(!program.stderr().contains("page"), "{}", program.stderr());
}

#[test]
fn files_that_children_report_are_watched_wherever_they_are_and_before_they_exist() {
    let program = SupervisorProcess::start("loader-reports", TestOptions { loader: true, ..TestOptions::default() });
    program.wait_for_code("good 0");
    for name in [".venv/lib/module.py", "not/yet/there.py"] {
        let applications = program.stderr().matches("an application").count();
        program.write(name, "");
        wait_until("the application is made again", || {
            program.stderr().matches("an application").count() > applications
        });
        program.wait_for_stderr(name);
    }
    program.save("good 1");
    program.wait_for_code("good 1");
    // Files that only earlier children have reported stay watched.
    program.save("good 2 silent");
    program.wait_for_code("good 2");
    program.save("good 3");
    program.wait_for_code("good 3");
}

#[test]
fn code_that_fails_before_it_reports_any_file_can_be_fixed_by_a_save() {
    let program = SupervisorProcess::start(
        "loader-silent",
        TestOptions { loader: true, code: Some("bad silent"), ..TestOptions::default() },
    );
    program.wait_for_error_page("/");
    assert!(program.get("/").text().contains("can't be made"));
    // No process has reported this file.
    program.save("good 1");
    wait_until("the new code serves", || {
        if !program.stderr().contains("Detected change") {
            program.write("app.py", &program.stderr());
        }
        program.try_get("/").is_some_and(|response| response.status == 200 && response.text().starts_with("good 1"))
    });
    program.save("good 2");
    program.wait_for_code("good 2");
}

#[test]
fn a_superseded_child_exits_while_it_makes_its_application() {
    let mut program = SupervisorProcess::start("loader-slow", TestOptions { loader: true, ..TestOptions::default() });
    program.wait_for_code("good 0");
    program.save("slow 1");
    let slow = wait_for_slow_child(&program);
    program.save("good 2");
    program.wait_for_code("good 2");
    wait_until("the superseded child has exited", || !is_alive(slow));
    assert!(!program.stderr().contains("before it was ready"), "{}", program.stderr());
    program.signal("TERM");
    assert_eq!(program.wait_for_exit(), Some(0));
}

#[test]
fn a_killed_supervisor_leaves_no_child_that_makes_its_application() {
    let mut program = SupervisorProcess::start("loader-killed", TestOptions { loader: true, ..TestOptions::default() });
    let serving = program.wait_for_code("good 0");
    program.save("slow 1");
    let slow = wait_for_slow_child(&program);
    program.signal("KILL");
    assert_eq!(program.wait_for_exit(), None);
    wait_until("both children have exited", || !is_alive(serving) && !is_alive(slow));
}

#[test]
fn the_environ_of_workers_says_that_there_are_several_processes() {
    for (workers, multiprocess) in [(0, "false"), (2, "true")] {
        let program =
            SupervisorProcess::start("loader-environ", TestOptions { loader: true, workers, ..TestOptions::default() });
        program.wait_for_code("good 0");
        assert_eq!(program.get("/environ").text(), format!("true {multiprocess}"), "{workers}");
    }
}

#[test]
fn a_single_process_can_have_a_supervisor_without_reloading() {
    let program = SupervisorProcess::start(
        "loader-supervised",
        TestOptions { loader: true, supervised: true, ..TestOptions::default() },
    );
    let first = program.wait_for_code("good 0");
    program.wait_for_stderr("supervised=true reloading=false");
    let _ = program.try_get("/die");
    wait_until("the process has exited", || !is_alive(first));
    program.wait_for_code("good 0");
}

#[test]
fn a_child_that_asks_to_be_replaced_hands_its_connections_over() {
    let program = SupervisorProcess::start(
        "loader-successor",
        TestOptions { loader: true, supervised: true, ..TestOptions::default() },
    );
    let first = program.wait_for_code("good 0");
    let mut kept = program.connect();
    let mut running = program.connect();
    running.send_get("/slow");
    assert_eq!(kept.get("/replace-me").text(), format!("good 0 {first}"));
    let second = wait_for("another process responds on the same connection", || {
        let pid = process_id(&kept.get("/").text()).unwrap();
        (pid != first).then_some(pid)
    });
    assert_eq!(running.response().text(), format!("good 0 {first}"));
    assert_eq!(running.get("/").text(), format!("good 0 {second}"));
    wait_until("the first process has exited", || !is_alive(first));
    assert!(!program.stderr().contains("died"), "{}", program.stderr());
}

#[test]
fn an_application_can_be_made_once_and_inherited_by_all_workers() {
    let mut program =
        SupervisorProcess::start("loader-forked", TestOptions { forked: true, workers: 2, ..TestOptions::default() });
    program.wait_for_code("good 0");
    let old = program.worker_pids(2);
    assert_ne!(old[0], old[1]);
    assert_eq!(program.get("/environ").text(), "true true");
    let mut kept = program.connect();
    let mut running = program.connect();
    assert_eq!(kept.try_get("/").unwrap().status, 200);
    running.send_get("/slow");
    let _ = kept.try_get("/").unwrap();
    program.signal("HUP");
    wait_until("the connection has moved to a new worker", || {
        let text = kept.get("/").text();
        !old.iter().any(|pid| text.ends_with(&format!(" {pid}")))
    });
    assert_eq!(running.try_response().unwrap().status, 200);
    wait_until("the old workers have exited", || !old.iter().any(|&pid| is_alive(pid)));
    let new = program.worker_pids(2);
    send_signal(new[0], "KILL");
    wait_until("the death of the worker is reported", || program.stderr().contains("died"));
    program.worker_pids(2);
    assert_eq!(program.stderr().matches("an application").count(), 1, "{}", program.stderr());
    program.signal("TERM");
    assert_eq!(program.wait_for_exit(), Some(0));
    program.wait_for_free_port();
}

#[test]
fn a_killed_supervisor_leaves_no_forked_worker() {
    let mut program = SupervisorProcess::start(
        "loader-forked-killed",
        TestOptions { forked: true, workers: 2, ..TestOptions::default() },
    );
    program.wait_for_code("good 0");
    let workers = program.worker_pids(2);
    program.signal("KILL");
    assert_eq!(program.wait_for_exit(), None);
    wait_until("all workers have exited", || !workers.iter().any(|&pid| is_alive(pid)));
    program.wait_for_free_port();
}

#[test]
fn a_reloader_is_refused_for_an_application_in_memory() {
    let mut options = RunOptions::default();
    options.use_reloader = true;
    let mut plan = LaunchPlan::default();
    plan.fork = Some(Arc::new(|_| unreachable!()));
    let builder = ServerBuilder::with_loader(NoApp).bind(Address::new("127.0.0.1", 0));
    let error = builder.options(options).launch(plan).run().unwrap_err();
    assert!(matches!(error.kind(), RunErrorKind::Options(_)) && error.to_string().contains("reloader"), "{error}");
}
