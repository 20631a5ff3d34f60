//! Loads the application where no Python application is named: the built-in development application. Under a
//! supervisor, the error page may be served in its place.

use std::sync::Arc;

use super::runner::{Runner, Signals};
use crate::{AppLoader, Application, DevApp, RunError, RunOptions, ServeError, Server, Worker};

/// The loader of the development application. It leaves signal handlers and waiting to the runner.
pub(super) struct DevAppLoader<'a> {
    app: Arc<DevApp>,
    signals: Signals,
    runner: &'a mut dyn Runner,
}

impl<'a> DevAppLoader<'a> {
    /// `concurrency` describes in words how requests run.
    pub(super) fn new(options: &RunOptions, concurrency: &str, runner: &'a mut dyn Runner) -> DevAppLoader<'a> {
        let signals = Signals::new(options);
        DevAppLoader { app: Arc::new(DevApp::new(&options.settings, concurrency)), signals, runner }
    }
}

impl AppLoader for DevAppLoader<'_> {
    fn load_app(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Ok(self.app.clone())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        self.runner.started(server, worker, self.signals.clone())
    }

    fn serve(&mut self, server: Server) -> Result<(), ServeError> {
        self.runner.wait(server)
    }
}
