//! What is on show: the program, or the page that stands in for it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use amboss_core::Listeners;
use amboss_reload::{EventHandler, Program, SupervisorHandle, Waker, Watch, WatchOptions, WorkerDeath, WorkerFailure};

use super::page;
use super::traceback;
use super::BrokenSave;

/// What is on show: the program, or what stands in for it.
pub(super) struct Stage {
    broken_save: BrokenSave,
    page: Program,
    /// The program serves.
    serving: AtomicBool,
    /// The program was started, and whether it stays up has to be seen; one that says nothing may serve already.
    starting: AtomicBool,
}

impl Stage {
    pub(super) fn new(broken_save: BrokenSave, page: Program) -> Stage {
        Stage { broken_save, page, serving: AtomicBool::new(false), starting: AtomicBool::new(false) }
    }

    /// Starts the program again, in its newest form.
    pub(super) fn renew(&self, handle: &SupervisorHandle, program: &Program) {
        handle.replace(Some(program.clone()));
    }

    fn is_serving(&self) -> bool {
        self.serving.load(Ordering::SeqCst)
    }

    /// The newest code is no good, because it can't be built, or because this generation of it has failed: does what is
    /// set, and says what in a few words.
    pub(super) fn broken(&self, handle: &SupervisorHandle, output: &[u8], generation: Option<u64>) -> &'static str {
        let serving = self.is_serving() || self.starting.load(Ordering::SeqCst);
        if self.broken_save == BrokenSave::KeepServing && serving {
            return "the old code keeps serving";
        }
        if let Err(error) = self.show(handle, output, generation) {
            say!(" * The page that shows why can't be served: {error}");
        }
        "requests get a page that shows why"
    }

    fn show(&self, handle: &SupervisorHandle, output: &[u8], generation: Option<u64>) -> std::io::Result<()> {
        // Gone with the child that reads it, or with the next page.
        let path = output_file();
        write_private(&path, output)?;
        let mut page = self.page.clone();
        page.env.push((page::VARIABLE.into(), path.into_os_string()));
        self.serving.store(false, Ordering::SeqCst);
        handle.run_fallback(page, generation);
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(output_file());
    }
}

/// Where the page's child finds what it shows.
fn output_file() -> PathBuf {
    std::env::temp_dir().join(format!("amboss-{}-error", std::process::id()))
}

fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// Hears what happens to the children.
pub(super) struct Told {
    pub(super) stage: Arc<Stage>,
    pub(super) handle: Arc<Mutex<Option<SupervisorHandle>>>,
    pub(super) watched: Option<Watched>,
    pub(super) pages: Pages,
    /// Until it stops.
    pub(super) listeners: Option<Listeners>,
}

/// Which children are pages.
#[derive(Default)]
pub(super) struct Pages {
    generations: HashSet<u64>,
    /// The newest that serves is one. Nobody is to be content with it when the next code is broken as well.
    serve: bool,
}

/// The way to the watch.
pub(super) struct Watched {
    watch: Waker,
    /// It was said that there are too many files.
    said: bool,
    /// When the newest child was started.
    started: SystemTime,
    /// A child has said what it consists of; until then everything is watched anyhow.
    reported: bool,
}

impl Watched {
    pub(super) fn by(watch: &Watch) -> Watched {
        Watched { watch: watch.waker(), said: false, started: SystemTime::now(), reported: false }
    }

    fn add(&mut self, files: Vec<PathBuf>, since: SystemTime) {
        if !self.watch.add_files(files, since) && !std::mem::replace(&mut self.said, true) {
            let most = WatchOptions::default().max_added_files;
            say!(" * The program consists of more than {most} files; those beyond are not watched.");
        }
    }

    /// One has failed, and may have had no time to say what it consists of.
    fn failed(&mut self, output: &[u8]) {
        let Ok(here) = std::env::current_dir() else { return };
        if self.reported {
            self.add(traceback::files(output, &here), self.started);
        }
    }
}

impl EventHandler for Told {
    fn fallback_starting(&mut self, generation: u64) {
        self.pages.generations.insert(generation);
    }

    fn stopping(&mut self) {
        self.listeners = None;
    }

    fn started(&mut self, generation: u64, _: u32) {
        if let Some(watched) = &mut self.watched {
            watched.started = SystemTime::now();
        }
        self.stage.starting.store(!self.pages.generations.contains(&generation), Ordering::SeqCst);
    }

    fn ready(&mut self, generation: u64) {
        self.pages.serve = self.pages.generations.contains(&generation);
        self.stage.starting.store(false, Ordering::SeqCst);
        self.stage.serving.store(!self.pages.serve, Ordering::SeqCst);
    }

    fn failed(&mut self, failure: &WorkerFailure) {
        if let Some(watched) = &mut self.watched {
            watched.failed(&failure.output);
        }
        self.stage.starting.store(false, Ordering::SeqCst);
        if self.pages.generations.contains(&failure.generation) {
            // The page itself can't be shown; there is nothing to put in its place.
            return;
        }
        self.stage.serving.store(failure.serving && !self.pages.serve, Ordering::SeqCst);
        if self.watched.is_none() {
            // Only time can mend it: it is tried again.
            return;
        }
        let handle = self.handle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if let Some(handle) = handle {
            let output = if failure.output.is_empty() { failure.reason.as_bytes() } else { &failure.output };
            say!(" * {}", self.stage.broken(&handle, output, Some(failure.generation)));
        }
    }

    fn files(&mut self, files: Vec<PathBuf>, started: SystemTime) {
        if let Some(watched) = &mut self.watched {
            watched.reported = true;
            watched.add(files, started);
        }
    }

    fn died(&mut self, _: &WorkerDeath) {
        self.stage.serving.store(false, Ordering::SeqCst);
    }
}
