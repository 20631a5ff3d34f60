//! The supervisor, which holds the sockets, runs workers on them, and watches files.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use amboss_core::Listeners;
use amboss_reload::{BuildOutcome, Program, Protocol, Supervisor, SupervisorHandle, SupervisorOptions, Waker, Watch};

use super::cargo_program::CargoProgram;
use super::events::{HandleSlot, SupervisorEvents};
use super::fallback::FallbackState;
use super::program::{check_runnable, error_page_program, worker_program, ProgramKind};
use super::rebuild::Rebuilder;
use super::watched_files::{start_watch, ReportedFiles};
use crate::error::{RunError, RunErrorKind};
use crate::launch_plan::LaunchPlan;
use crate::options::RunOptions;
use crate::sync::lock;

/// The exit code of a program whose command line or settings are wrong. Starting it again can't help.
const EXIT_USAGE: i32 = 2;

/// How long an interpreted program may take before it serves. Some load models or tables while they are imported.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a worker that has been told to drain may take before the supervisor ends it, as a multiple of
/// [`Timeouts::shutdown`](crate::Timeouts::shutdown). A worker that uses amboss ends its requests after that timeout;
/// the longer limit is for other programs.
const DRAIN_TIMEOUTS: u32 = 3;

/// Runs the supervisor: holds the sockets and runs workers on them. Returns the exit code after it was told to stop.
///
/// `bind` is called after everything else has been checked. If it returns a banner, the banner is printed after the
/// signal handlers are installed, because the program that reads it may send a signal at once.
pub(crate) fn supervise(
    options: &RunOptions,
    plan: &LaunchPlan,
    bind: impl FnOnce() -> Result<(Listeners, Option<String>), RunError>,
) -> Result<i32, RunError> {
    let kind = ProgramKind::of(plan);
    let mut supervisor_options = supervisor_options(options, plan, &kind);
    let orphan_timeout = supervisor_options.drain_timeout + supervisor_options.kill_timeout;
    let mut program = worker_program(&kind, options, plan, orphan_timeout)?;
    let project = project_of(&program, &kind, options, plan);
    if let (ProgramKind::Other(argv), None) = (&kind, &project) {
        check_runnable(&argv[0])?;
    }
    let watch = match options.use_reloader {
        true => Some(start_watch(options, plan, &kind, &program, project.as_ref())?),
        false => None,
    };
    let fallback = Arc::new(FallbackState::new(options.on_load_failure, error_page_program(&program, plan)?));
    let first_failure = match &project {
        Some(project) if kind.is_other() => build_first(project, &mut program)?,
        _ => None,
    };

    let (listeners, banner) = bind()?;
    let sockets = shared_sockets(&listeners, &kind)?;
    supervisor_options.close_in_fork = listeners.as_fds().map(|socket| socket.as_raw_fd()).collect();
    let reported_files = watch.as_ref().map(|watch| ReportedFiles::new(watch, plan.sources.clone()));
    let slot = HandleSlot::default();
    let events = SupervisorEvents::new(fallback.clone(), slot.clone(), reported_files, listeners);
    let mut supervisor = Supervisor::new(program.clone(), sockets, supervisor_options, Box::new(events));
    supervisor.listen_to_signals().map_err(RunError::from)?;
    if let Some(banner) = banner {
        say!("{}", banner.trim_end());
    }
    if let Some(watch) = watch.as_ref().filter(|_| !options.quiet) {
        say!(" * Restarting with {}", watch.backend());
    }
    let handle = supervisor.handle();
    *lock(&slot) = Some(handle.clone());
    if let Some(output) = first_failure {
        say!(" * The code can't be built; {}", fallback.load_failed(&handle, output.as_bytes(), None));
    }
    let watcher = watch.map(|watch| Watcher::start(watch, plan, handle, project, program, fallback));
    let exit_code = supervisor.run();
    if let Some(watcher) = watcher {
        watcher.stop();
    }
    Ok(exit_code)
}

fn supervisor_options(options: &RunOptions, plan: &LaunchPlan, kind: &ProgramKind) -> SupervisorOptions {
    let mut supervisor = SupervisorOptions::default();
    supervisor.workers = options.workers.max(1);
    // When reloading, wait for the next save instead of retrying.
    supervisor.retry = !options.use_reloader;
    supervisor.spare = plan.spare && options.use_reloader;
    supervisor.fatal_exit_code = supervisor.retry.then_some(EXIT_USAGE);
    supervisor.drain_timeout = options.settings.timeouts.shutdown.saturating_mul(DRAIN_TIMEOUTS);
    if plan.watch_reported {
        supervisor.start_timeout = supervisor.start_timeout.max(2 * IMPORT_TIMEOUT);
    }
    if kind.is_other() {
        // A program that reports its files also reports when it is ready, even after a long import.
        let ready_after = if plan.watch_reported { IMPORT_TIMEOUT } else { Protocol::READY_AFTER };
        supervisor.protocol = Protocol::Detect { ready_after };
    }
    supervisor
}

/// Returns the cargo project that builds the program when files change, if there is one.
fn project_of(program: &Program, kind: &ProgramKind, options: &RunOptions, plan: &LaunchPlan) -> Option<CargoProgram> {
    // The `amboss` command with its built-in application is a tool, not the program that its user develops.
    let is_tool = matches!(kind, ProgramKind::Respawned) && plan.exec_wrapper.is_some();
    let is_built = options.use_reloader && !is_tool && !plan.watch_reported;
    if is_built {
        CargoProgram::of(&program.path)
    } else {
        None
    }
}

/// Builds another program before its first start, so that it is up to date with its sources. Returns cargo's output if
/// the program can't be built.
fn build_first(project: &CargoProgram, program: &mut Program) -> Result<Option<String>, RunError> {
    match project.build().map_err(|error| RunErrorKind::Reload(error.to_string()))?.wait() {
        Ok(BuildOutcome::Failed(output)) => return Ok(Some(output)),
        Ok(BuildOutcome::Built(built)) => {
            if let Some(path) = project.find_in(&built) {
                program.path = path;
            }
        }
        Ok(BuildOutcome::Cancelled) => {}
        Err(error) => return Err(RunErrorKind::Reload(format!("can't wait for cargo: {error}")).into()),
    }
    Ok(None)
}

/// Returns the sockets for the workers. For another program they are set to blocking, as systemd passes them.
fn shared_sockets(listeners: &Listeners, kind: &ProgramKind) -> Result<Vec<OwnedFd>, RunError> {
    let sockets = listeners.as_fds().map(|socket| socket.try_clone_to_owned()).collect::<Result<Vec<_>, _>>()?;
    if kind.is_other() {
        sockets.iter().try_for_each(amboss_reload::set_blocking)?;
    }
    Ok(sockets)
}

/// The thread that runs the [`Rebuilder`], and the means to stop it.
struct Watcher {
    ended: Arc<AtomicBool>,
    waker: Waker,
    thread: JoinHandle<()>,
}

impl Watcher {
    fn start(
        watch: Watch,
        plan: &LaunchPlan,
        handle: SupervisorHandle,
        project: Option<CargoProgram>,
        program: Program,
        fallback: Arc<FallbackState>,
    ) -> Watcher {
        let (ended, waker) = (Arc::new(AtomicBool::new(false)), watch.waker());
        let logged_reason = watch.fallback_reason().map(str::to_owned);
        if let Some(reason) = &logged_reason {
            say!(" * {reason}");
        }
        let rebuilder = Rebuilder {
            watch,
            watch_reported: plan.watch_reported,
            sources: plan.sources.clone(),
            handle,
            project,
            program,
            fallback,
            ended: ended.clone(),
            logged_reason,
        };
        Watcher { ended, waker, thread: thread::spawn(move || rebuilder.run()) }
    }

    fn stop(self) {
        self.ended.store(true, Ordering::SeqCst);
        self.waker.wake();
        let _ = self.thread.join();
    }
}
