//! Loads an application that the command has itself: the built-in development application, or a folder of files. Under
//! a supervisor, the error page may be served in its place.

use std::sync::Arc;

use super::runner::{Runner, Signals};
use crate::{AppLoader, Application, RunError, RunOptions, ServeEnd, ServeError, Server, Worker};

/// The loader of an application of the command. It leaves signal handlers and waiting to the runner.
pub(super) struct OwnAppLoader<'a> {
    app: Arc<dyn Application>,
    signals: Signals,
    runner: &'a mut dyn Runner,
    /// A line to print above the banner.
    hint: Option<&'static str>,
}

impl<'a> OwnAppLoader<'a> {
    pub(super) fn new(
        app: Arc<dyn Application>,
        options: &RunOptions,
        runner: &'a mut dyn Runner,
        hint: Option<&'static str>,
    ) -> OwnAppLoader<'a> {
        OwnAppLoader { app, signals: Signals::new(options), runner, hint }
    }
}

impl AppLoader for OwnAppLoader<'_> {
    fn load_app(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Ok(self.app.clone())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        self.runner.started(server, worker, self.signals.clone())?;
        if let Some(hint) = self.hint {
            say!("{hint}");
        }
        Ok(())
    }

    fn serve(&mut self, server: Server, end: ServeEnd) -> Result<(), ServeError> {
        let served = self.runner.wait(server);
        drop(end);
        served
    }
}
