//! From a change to new children: wait, build, replace.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, TryRecvError};
use std::sync::Arc;
use std::thread;

use amboss_reload::{BuildOutcome, Changes, Program, SupervisorHandle, Watch};

use super::bytecode;
use super::project::Project;
use super::stage::Stage;

/// Saves that stop a build so that the next one begins at once. With more of them in a row something else than an editor
/// is at work, and a build has to come to its end before the next.
const IMPATIENCE: u32 = 3;

/// What is watched while nobody has said what the program consists of: a child may have died before it could.
const UNTIL_REPORTED: &str = "**/*.py";

pub(super) struct Rebuilder {
    pub(super) watch: Watch,
    /// What is to be watched, the children say.
    pub(super) until_reported: bool,
    pub(super) handle: SupervisorHandle,
    pub(super) project: Option<Project>,
    pub(super) program: Program,
    pub(super) stage: Arc<Stage>,
    /// The supervisor has ended.
    pub(super) over: Arc<AtomicBool>,
    pub(super) told: Option<String>,
}

impl Rebuilder {
    /// Until the supervisor has ended; woken to see that.
    pub(super) fn follow(mut self) {
        if self.until_reported {
            // Here, beside the first child's start: the folder may be large.
            if let Err(error) = self.watch.watch_until_files_are_added(Path::new(UNTIL_REPORTED)) {
                say!(" * {error}");
            }
        }
        while !self.is_over() {
            self.tell_fallback();
            if let Some(changes) = self.watch.next(None) {
                announce(&changes);
                if self.until_reported {
                    changes.iter().for_each(|change| bytecode::forget(&change.path));
                }
                self.renew();
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn tell_fallback(&mut self) {
        let reason = self.watch.fallback_reason();
        if reason.is_some() && reason != self.told.as_deref() {
            self.told = reason.map(str::to_owned);
            say!(" * {}", self.told.as_deref().unwrap_or_default());
        }
    }

    /// Builds, as often as saves come in between, and replaces the children.
    fn renew(&mut self) {
        let mut stopped = 0;
        let Some(project) = self.project.take() else { return self.stage.renew(&self.handle, &self.program) };
        loop {
            let build = match project.build() {
                Ok(build) => build,
                Err(error) => {
                    say!(" * {error}");
                    break;
                }
            };
            let (canceller, waker) = (build.canceller(), self.watch.waker());
            let (ended_to, ended) = channel();
            thread::spawn(move || {
                let _ = ended_to.send(build.wait());
                waker.wake();
            });
            let mut outdated = false;
            let outcome = loop {
                match ended.try_recv() {
                    Ok(outcome) => break Some(outcome),
                    Err(TryRecvError::Disconnected) => break None,
                    Err(TryRecvError::Empty) => {}
                }
                let changes = self.watch.next(None);
                if self.is_over() {
                    canceller.cancel();
                    return;
                }
                if let Some(changes) = changes.filter(|_| !outdated) {
                    announce(&changes);
                    outdated = true;
                    if stopped < IMPATIENCE {
                        stopped += 1;
                        canceller.cancel();
                    }
                }
            };
            match outcome {
                Some(Ok(BuildOutcome::Built(built))) => {
                    match project.executable(&built) {
                        // Also when it is the same program: it may read what was saved when it starts.
                        Some(path) => {
                            self.program.path = path;
                            self.stage.renew(&self.handle, &self.program);
                        }
                        None => say!(" * Cargo builds, but not the program that is running"),
                    }
                }
                Some(Ok(BuildOutcome::Failed(output))) => {
                    say!(
                        " * The new code can't be built; {}",
                        self.stage.broken(&self.handle, output.as_bytes(), None)
                    );
                }
                Some(Ok(BuildOutcome::Cancelled)) => continue,
                Some(Err(error)) => {
                    say!(" * The build can't be waited for: {error}");
                    break;
                }
                None => break,
            }
            if !outdated {
                break;
            }
            stopped = 0;
        }
        self.project = Some(project);
    }
}

fn announce(changes: &Changes) {
    let more = changes.iter().count() - 1;
    let others = if more == 0 { String::new() } else { format!(" and {more} more") };
    say!(" * Detected change in '{}'{others}, reloading", changes.first().path.display());
}
