//! The parent's side: sockets, children, and what becomes of code that can't start.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use amboss_core::Listeners;
use amboss_reload::{Program, Protocol, Scope, ScopeOptions, Supervisor, SupervisorOptions, Watch, WatchOptions};

use super::child::{LIVE, MULTIPROCESS, RELOADING};
use super::project::Project;
use super::rebuild::Rebuilder;
use super::stage::{Pages, Stage, Told, Watched};
use super::{BrokenSave, ForkWith};
use crate::live_reload::start_timestamp;
use crate::run::{RunError, RunOptions};

/// With this exit code a program says that what it was told makes no sense; it would not the next time.
const BAD_INPUT: i32 = 2;

/// How long an interpreted program may take until it serves: some load models or tables before.
const IMPORTS: Duration = Duration::from_secs(600);

/// What the children are.
enum Command {
    /// This program again, with the same command line.
    Again,
    /// Copies of this process.
    Copies(Arc<ForkWith>),
    /// Another program that takes its sockets from its parent.
    Other(Vec<OsString>),
}

/// How long a supervisor waits for a child that is to leave, before it ends it. The child keeps a deadline of its own,
/// `timeouts.shutdown`; this is for one that does not, or has none.
pub(super) fn drain_deadline(options: &RunOptions) -> Duration {
    const TIMES: u32 = 3;
    options.settings.timeouts.shutdown.saturating_mul(TIMES)
}

/// Holds the sockets and runs children on them; returns when it was told to stop, with the exit code.
///
/// `bind` is called when everything else that can be wrong has turned out right; the text that it may return is said as
/// soon as whoever reads it may send a signal.
pub(crate) fn supervise(
    options: &RunOptions,
    bind: impl FnOnce() -> Result<(Listeners, Option<String>), RunError>,
) -> Result<i32, RunError> {
    let command = match (&options.program, &options.fork) {
        (Some(words), _) if !words.is_empty() => Command::Other(words.clone()),
        (_, Some(fork)) => Command::Copies(fork.clone()),
        _ => Command::Again,
    };
    let mut program = program(&command, options)?;
    // The command with its built-in application is a tool, not what is being worked on.
    let is_tool = matches!(command, Command::Again) && options.exec_wrapper.is_some();
    let is_built = options.use_reloader && !is_tool && !options.watch_reported;
    let project = if is_built { Project::of(&program.path) } else { None };
    if let (Command::Other(words), None) = (&command, &project) {
        runnable(&words[0])?;
    }
    let watch = if options.use_reloader { Some(watch(options, &command, &program, project.as_ref())?) } else { None };
    let stage = Arc::new(Stage::new(options.broken_save, page(&program, options)?));
    let mut first_failure = None;
    if let (Some(project), Command::Other(_)) = (&project, &command) {
        // What is started is what the sources say.
        match project.build().map_err(|error| RunError::Reload(error.to_string()))?.wait() {
            Ok(amboss_reload::BuildOutcome::Failed(output)) => first_failure = Some(output),
            Ok(amboss_reload::BuildOutcome::Built(built)) => {
                program.path = project.executable(&built).unwrap_or(program.path);
            }
            Ok(amboss_reload::BuildOutcome::Cancelled) => {}
            Err(error) => return Err(RunError::Reload(format!("cargo can't be waited for: {error}"))),
        }
    }

    let (listeners, banner) = bind()?;
    let sockets = listeners.as_fds().map(|socket| socket.try_clone_to_owned()).collect::<Result<Vec<_>, _>>();
    let sockets = sockets.map_err(|error| RunError::Serve(error.into()))?;
    if let Command::Other(_) = command {
        // As systemd passes them on.
        sockets.iter().try_for_each(amboss_reload::set_blocking).map_err(|error| RunError::Serve(error.into()))?;
    }
    let mut settings = SupervisorOptions::default();
    settings.workers = options.workers.max(1);
    // Where a save can mend what is broken, that is waited for.
    settings.retry = !options.use_reloader;
    settings.fatal_exit_code = settings.retry.then_some(BAD_INPUT);
    settings.close_in_fork = listeners.as_fds().map(|socket| socket.as_raw_fd()).collect();
    settings.drain_timeout = drain_deadline(options);
    if options.watch_reported {
        settings.start_timeout = settings.start_timeout.max(2 * IMPORTS);
    }
    if let Command::Other(_) = command {
        // Who reports what is to be watched says when it is ready, too, whatever it imports before.
        let ready_after = if options.watch_reported { IMPORTS } else { Protocol::READY_AFTER };
        settings.protocol = Protocol::Detect { ready_after };
    }
    let watched = watch.as_ref().map(Watched::by);
    let told = Told {
        stage: stage.clone(),
        handle: Arc::default(),
        watched,
        pages: Pages::default(),
        listeners: Some(listeners),
    };
    let handle_slot = told.handle.clone();
    let mut supervisor = Supervisor::new(program.clone(), sockets, settings, Box::new(told));
    supervisor.listen_to_signals().map_err(|error| RunError::Serve(error.into()))?;
    if let Some(banner) = banner {
        say!("{}", banner.trim_end());
    }
    let handle = supervisor.handle();
    *handle_slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(handle.clone());
    if let Some(output) = first_failure {
        say!(" * The code can't be built; {}", stage.broken(&handle, output.as_bytes(), None));
    }
    let watching = watch.map(|watch| {
        say!(" * Restarting with {}", watch.backend());
        let (over, waker) = (Arc::new(AtomicBool::new(false)), watch.waker());
        let told = watch.fallback_reason().map(str::to_owned);
        if let Some(reason) = &told {
            say!(" * {reason}");
        }
        let until_reported = options.watch_reported;
        let (stage, over_there) = (stage.clone(), over.clone());
        let rebuilder = Rebuilder { watch, until_reported, handle, project, program, stage, over: over_there, told };
        (over, waker, thread::spawn(move || rebuilder.follow()))
    });
    let exit_code = supervisor.run();
    if let Some((over, waker, thread)) = watching {
        over.store(true, Ordering::SeqCst);
        waker.wake();
        let _ = thread.join();
    }
    Ok(exit_code)
}

fn program(command: &Command, options: &RunOptions) -> Result<Program, RunError> {
    let this = std::env::current_exe()
        .map_err(|error| RunError::Reload(format!("this program can't be started again: {error}")))?;
    let mut program = match command {
        Command::Again => {
            let mut program = Program::new(this);
            program.args = std::env::args_os().skip(1).collect();
            if let Some(words) = &options.respawn_command {
                (program.path, program.args) = command_line(words)?;
            }
            program
        }
        Command::Copies(fork) => {
            let fork = fork.clone();
            return Ok(Program::forked(move |forked| fork(forked)));
        }
        Command::Other(words) => {
            let mut program = Program::new(this);
            (program.path, program.args) = command_line(words)?;
            // Nobody knows whether it obeys a signal, and nobody would be left to see to it.
            program.kill_with_parent = true;
            program
        }
    };
    // Only the command has the hidden subcommand for it.
    program.exec_wrapper.clone_from(&options.exec_wrapper);
    if options.live {
        program.env.push((LIVE.into(), start_timestamp().into()));
    }
    if options.use_reloader {
        program.env.push((RELOADING.into(), "true".into()));
        // Werkzeug's `is_running_from_reloader`, by which applications decide on work that is done once.
        program.env.push(("WERKZEUG_RUN_MAIN".into(), "true".into()));
    }
    if options.workers > 1 {
        program.env.push((MULTIPROCESS.into(), "true".into()));
    }
    let is_interpreted = options.respawn_command.is_some() || options.watch_reported;
    // What an interpreter can't start is rarely seen anywhere but in what it says.
    if options.use_reloader && (options.broken_save == BrokenSave::ErrorPage || is_interpreted) {
        program.capture_stderr = true;
        // Behind a pipe it can't see the terminal that its words end up on.
        if amboss_core::wants_color(std::io::stderr().is_terminal()) {
            program.env.push(("CLICOLOR_FORCE".into(), "1".into()));
        }
    }
    Ok(program)
}

/// What stands in for the program.
fn page(program: &Program, options: &RunOptions) -> Result<Program, RunError> {
    let mut page = Program::new("");
    page.env.clone_from(&program.env);
    page.exec_wrapper.clone_from(&program.exec_wrapper);
    page.kill_with_parent = program.kill_with_parent;
    if let Some(words) = &options.error_page_command {
        (page.path, page.args) = command_line(words)?;
        return Ok(page);
    }
    // This executable as it is now, whatever is built in its place later.
    page.path = this_executable().unwrap_or_else(|| program.path.clone());
    page.args = std::env::args_os().skip(1).collect();
    Ok(page)
}

/// On Linux the file that this process runs, also when something else has taken its name.
fn this_executable() -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        return Some(PathBuf::from(format!("/proc/{}/exe", std::process::id())));
    }
    std::env::current_exe().ok()
}

/// A program and its arguments.
fn command_line(words: &[OsString]) -> Result<(PathBuf, Vec<OsString>), RunError> {
    match words {
        [program, arguments @ ..] => Ok((program.into(), arguments.to_vec())),
        [] => Err(RunError::Options("A command line without a program can't be started; name one.")),
    }
}

/// Can a program of this name be started? Otherwise children would fail one after the other.
fn runnable(name: &OsStr) -> Result<(), RunError> {
    let is_program =
        |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let shown = name.to_string_lossy();
    let sentence = if !name.as_bytes().contains(&b'/') {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| is_program(&folder.join(name))) {
            return Ok(());
        }
        format!("there is no program '{shown}' in the folders of PATH; for one that lies here write './{shown}'")
    } else if is_program(Path::new(name)) {
        return Ok(());
    } else if Path::new(name).exists() {
        format!("'{shown}' is no program; name a file that can be executed")
    } else {
        format!("there is no program '{shown}'; build it first, or mend the path")
    };
    Err(RunError::Reload(sentence))
}

fn watch(
    options: &RunOptions,
    command: &Command,
    program: &Program,
    project: Option<&Project>,
) -> Result<Watch, RunError> {
    let mut scope = match (project, command) {
        (Some(project), _) => project.scope(),
        (None, _) if options.watch_reported => ScopeOptions::default(),
        (None, Command::Again | Command::Copies(_)) => ScopeOptions::default(),
        (None, Command::Other(_)) => {
            let mut scope = ScopeOptions::default();
            scope.roots.push(PathBuf::from("."));
            scope
        }
    };
    if project.is_none() && !options.watch_reported && program.path.components().count() > 1 {
        // A program that is built by other means is a file that changes.
        scope.optional_files.push(program.path.clone());
    }
    scope.extra_files.extend(options.extra_files.iter().cloned());
    scope.exclude_patterns.extend(options.exclude_patterns.iter().cloned());
    scope.exclude_patterns.extend(own_output());
    let mut how = WatchOptions::default();
    how.backend = options.reloader_type.into();
    if let Some(interval) = options.reloader_interval {
        how.poll_interval = interval;
    }
    let scope = Scope::new(scope).map_err(|error| RunError::Reload(error.to_string()))?;
    Watch::start(scope, how).map_err(|error| RunError::Reload(error.to_string()))
}

/// The files that this process and its children write their own lines to, as patterns: in a project's folder, each line
/// would be a change that is answered with a line.
fn own_output() -> impl Iterator<Item = String> {
    let links = ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter();
    let files = links.filter_map(|link| std::fs::read_link(link).ok()).filter(|path| path.is_file());
    files.filter_map(|path| {
        let plain = |letter| if matches!(letter, '*' | '?' | '[') { format!("[{letter}]") } else { letter.to_string() };
        Some(path.to_str()?.chars().map(plain).collect())
    })
}
