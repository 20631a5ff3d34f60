//! The reaction to file changes: wait for a change, build the program, and replace the workers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, TryRecvError};
use std::sync::Arc;
use std::thread;

use amboss_reload::{Build, BuildOutcome, CargoError, Changes, Program, SupervisorHandle, Watch};

use super::cargo_program::CargoProgram;
use super::fallback::FallbackState;
use crate::launch_plan::SourceKnowledge;

/// The maximum number of consecutive builds that are cancelled by a further change. More changes than that do not come
/// from an editor, and at some point a build has to finish.
const MAX_CANCELLED_BUILDS: u32 = 3;

type BuildResult = std::io::Result<BuildOutcome>;

/// The loop that waits for file changes, in a thread of its own, until the supervisor has ended.
pub(super) struct Rebuilder {
    pub(super) watch: Watch,
    /// Whether the workers report which files to watch.
    pub(super) watch_reported: bool,
    pub(super) sources: Option<Arc<dyn SourceKnowledge>>,
    pub(super) handle: SupervisorHandle,
    /// The project that builds the program, if cargo does.
    pub(super) project: Option<CargoProgram>,
    pub(super) program: Program,
    pub(super) fallback: Arc<FallbackState>,
    /// Whether the supervisor has ended.
    pub(super) ended: Arc<AtomicBool>,
    /// Why the watch scans instead of using events, as last logged.
    pub(super) logged_reason: Option<String>,
}

/// The result of a build, and whether files have changed during the build.
struct Finished {
    result: Option<BuildResult>,
    is_outdated: bool,
}

impl Rebuilder {
    /// Runs until the supervisor has ended, which sets `ended` and wakes the watch.
    pub(super) fn run(mut self) {
        if let Some(sources) = self.sources.clone().filter(|_| self.watch_reported) {
            // In this thread, concurrently with the start of the first worker, because scanning a large directory takes
            // a while.
            if let Err(error) = self.watch.watch_until_files_are_added(Path::new(sources.watch_until_reported())) {
                say!(" * {error}");
            }
        }
        while !self.has_ended() {
            self.log_fallback_reason();
            if let Some(changes) = self.watch.next(None) {
                announce(&changes);
                if let Some(sources) = self.sources.as_ref().filter(|_| self.watch_reported) {
                    changes.iter().for_each(|change| sources.file_changed(&change.path));
                }
                self.restart();
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn log_fallback_reason(&mut self) {
        let reason = self.watch.fallback_reason();
        if reason.is_some() && reason != self.logged_reason.as_deref() {
            self.logged_reason = reason.map(str::to_owned);
            say!(" * {}", self.logged_reason.as_deref().unwrap_or_default());
        }
    }

    /// Builds the program, if cargo builds it, and replaces the workers. Repeats the build if files have changed during
    /// it.
    fn restart(&mut self) {
        let Some(project) = self.project.take() else {
            return self.fallback.restart(&self.handle, &self.program);
        };
        let mut cancelled = 0;
        while let Some(finished) = self.build(&project, &mut cancelled) {
            match finished.result {
                Some(Ok(BuildOutcome::Cancelled)) => continue,
                Some(Ok(outcome)) => self.use_build(&project, outcome),
                Some(Err(error)) => {
                    say!(" * Can't wait for the build: {error}");
                    break;
                }
                None => break,
            }
            if !finished.is_outdated {
                break;
            }
            cancelled = 0;
        }
        self.project = Some(project);
    }

    /// Builds once. A file change cancels the build, unless `cancelled` has reached its maximum. Returns `None` if the
    /// build can't be started, or the supervisor has ended.
    fn build(&mut self, project: &CargoProgram, cancelled: &mut u32) -> Option<Finished> {
        let build = project.build().inspect_err(|error: &CargoError| say!(" * {error}")).ok()?;
        let cancel = build.canceller();
        let finished = self.wait_in_thread(build);
        let mut is_outdated = false;
        loop {
            match finished.try_recv() {
                Ok(result) => return Some(Finished { result: Some(result), is_outdated }),
                Err(TryRecvError::Disconnected) => return Some(Finished { result: None, is_outdated }),
                Err(TryRecvError::Empty) => {}
            }
            let changes = self.watch.next(None);
            if self.has_ended() {
                cancel.cancel();
                return None;
            }
            if let Some(changes) = changes.filter(|_| !is_outdated) {
                announce(&changes);
                is_outdated = true;
                if *cancelled < MAX_CANCELLED_BUILDS {
                    *cancelled += 1;
                    cancel.cancel();
                }
            }
        }
    }

    /// Waits for a build in a thread of its own, which sends the result and wakes the watch.
    fn wait_in_thread(&self, build: Build) -> Receiver<BuildResult> {
        let waker = self.watch.waker();
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let _ = sender.send(build.wait());
            waker.wake();
        });
        receiver
    }

    fn use_build(&mut self, project: &CargoProgram, outcome: BuildOutcome) {
        match outcome {
            BuildOutcome::Built(built) => match project.find_in(&built) {
                // Restart even if the executable is the same: files that the program reads at its start may have
                // changed.
                Some(path) => {
                    self.program.path = path;
                    self.fallback.restart(&self.handle, &self.program);
                }
                None => say!(" * Cargo has built the project, but not the program that is running; check the name of the binary in Cargo.toml"),
            },
            BuildOutcome::Failed(output) => {
                let done = self.fallback.load_failed(&self.handle, output.as_bytes(), None);
                say!(" * The new code can't be built; {done}");
            }
            BuildOutcome::Cancelled => {}
        }
    }
}

fn announce(changes: &Changes) {
    let more = changes.iter().count() - 1;
    let others = if more == 0 { String::new() } else { format!(" and {more} more") };
    say!(" * Detected change in '{}'{others}, reloading", changes.first().path.display());
}
