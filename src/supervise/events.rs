//! The handler of the supervisor's events about its workers.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use amboss_core::Listeners;
use amboss_reload::{EventHandler, SupervisorHandle, WorkerDeath, WorkerFailure};

use super::fallback::FallbackState;
use super::watched_files::ReportedFiles;
use crate::sync::lock;

/// The handle of the supervisor, once the supervisor has been made.
pub(super) type HandleSlot = Arc<Mutex<Option<SupervisorHandle>>>;

/// An event handler that keeps the fallback state and the watched files up to date.
pub(super) struct SupervisorEvents {
    fallback: Arc<FallbackState>,
    handle: HandleSlot,
    /// `Some` with a reloader.
    reported_files: Option<ReportedFiles>,
    /// The supervisor's copies of the listening sockets. Dropped when it begins to stop.
    listeners: Option<Listeners>,
    /// The generations whose workers serve the error page.
    error_pages: HashSet<u64>,
    /// Whether the newest generation that serves is the error page.
    serves_error_page: bool,
}

impl SupervisorEvents {
    pub(super) fn new(
        fallback: Arc<FallbackState>,
        handle: HandleSlot,
        reported_files: Option<ReportedFiles>,
        listeners: Listeners,
    ) -> SupervisorEvents {
        SupervisorEvents {
            fallback,
            handle,
            reported_files,
            listeners: Some(listeners),
            error_pages: HashSet::new(),
            serves_error_page: false,
        }
    }
}

impl EventHandler for SupervisorEvents {
    fn fallback_starting(&mut self, generation: u64) {
        self.error_pages.insert(generation);
    }

    fn stopping(&mut self) {
        self.listeners = None;
    }

    fn started(&mut self, generation: u64, _: u32) {
        if let Some(files) = &mut self.reported_files {
            files.note_started();
        }
        self.fallback.note_started(self.error_pages.contains(&generation));
    }

    fn ready(&mut self, generation: u64) {
        self.serves_error_page = self.error_pages.contains(&generation);
        self.fallback.note_ready(self.serves_error_page);
    }

    fn failed(&mut self, failure: &WorkerFailure) {
        if let Some(files) = &mut self.reported_files {
            files.report_failure(&failure.output);
        }
        self.fallback.note_failed();
        if self.error_pages.contains(&failure.generation) {
            // The error page itself has failed, and there is nothing else to serve in its place.
            return;
        }
        self.fallback.set_serving(failure.serving && !self.serves_error_page);
        if self.reported_files.is_none() {
            // Without a reloader, no file change can repair the program, so the supervisor retries.
            return;
        }
        let handle = lock(&self.handle).clone();
        if let Some(handle) = handle {
            let output = if failure.output.is_empty() { failure.reason.as_bytes() } else { &failure.output };
            say!(" * {}", self.fallback.load_failed(&handle, output, Some(failure.generation)));
        }
    }

    fn files(&mut self, files: Vec<PathBuf>, started: SystemTime) {
        if let Some(reported) = &mut self.reported_files {
            reported.report(files, started);
        }
    }

    fn died(&mut self, _: &WorkerDeath) {
        self.fallback.set_serving(false);
    }
}
