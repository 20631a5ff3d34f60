//! What is served where no Python application is: the test application, and the page that a supervisor asks for.

use std::sync::Arc;

use super::{Runner, Signals};
use crate::{Application, Host, RunError, RunOptions, ServeError, Server, TestApp, Worker};

/// The built-in test application; how it waits is the runner's affair.
pub(super) struct BuiltIn<'a> {
    app: Arc<TestApp>,
    signals: Signals,
    runner: &'a mut dyn Runner,
}

impl<'a> BuiltIn<'a> {
    /// `concurrency` says in words how requests are run.
    pub(super) fn new(options: &RunOptions, concurrency: &str, runner: &'a mut dyn Runner) -> BuiltIn<'a> {
        let signals = Signals::new(options);
        BuiltIn { app: Arc::new(TestApp::new(&options.settings, concurrency)), signals, runner }
    }
}

impl Host for BuiltIn<'_> {
    fn application(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Ok(self.app.clone())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        self.runner.started(server, worker, self.signals.clone())
    }

    fn serve(&mut self, server: Server) -> Result<(), ServeError> {
        self.runner.wait(server)
    }
}

/// The hidden subcommand that shows the error page, whatever the arguments behind it name: they are the supervisor's
/// own, and say how it serves.
pub(super) const PAGE: &str = "__page";

/// # Errors
/// A sentence, when no supervisor has asked for it.
pub(super) fn check_page() -> Result<(), RunError> {
    #[cfg(all(unix, feature = "reload"))]
    if crate::is_running_from_reloader() && crate::reload::ErrorPage::is_wanted() {
        return Ok(());
    }
    Err(RunError::Options("__page shows what a supervisor says, and is nothing to start by hand; try --error-page"))
}
