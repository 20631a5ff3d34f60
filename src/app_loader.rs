//! Loading the application, and the hooks of the process that serves it.

use std::fmt;
use std::sync::Arc;

use amboss_core::{Application, ServeError, Server, Settings};

use crate::error::RunError;
use crate::worker::Worker;

/// A loader of an application, which runs in the process that serves it.
///
/// ```no_run
/// use std::sync::Arc;
/// use amboss::{
///     AppError, AppLoader, Application, Body, Environ, RunError, ServerBuilder, StartResponse, Worker,
/// };
///
/// struct ModelLoader;
///
/// impl AppLoader for ModelLoader {
///     fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
///         // A supervisor does not run this: only here is it worth reading a large model.
///         let greeting = if worker.is_supervised() { "Hello from a worker!\n" } else { "Hello!\n" };
///         let app = move |_: &mut Environ<'_>, start: &mut dyn StartResponse| -> Result<Body, AppError> {
///             start.start("200 OK", &[("Content-Type", "text/plain")])?;
///             Ok(Body::from(greeting))
///         };
///         Ok(Arc::new(app))
///     }
/// }
///
/// ServerBuilder::with_loader(ModelLoader).bind("localhost:5000".parse()?).run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait AppLoader {
    /// Loads the application. Called only in the process that serves it, not in a supervisor, and not in a process that
    /// serves the error page.
    ///
    /// # Errors
    /// The reason why the application can't be loaded; [`ServerBuilder::run`](crate::ServerBuilder::run) returns it.
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError>;

    /// Prepares a spare worker ([`LaunchPlan::spare`](crate::LaunchPlan::spare)): does ahead of time what does not depend
    /// on files that may change before the application is loaded. Returns false if that is impossible; this process then
    /// ends, and the next worker is started when it is needed. Called before [`load_app`](AppLoader::load_app).
    #[cfg(all(unix, feature = "reload"))]
    fn prepare_spare(&mut self, worker: &Worker) -> bool {
        let _ = worker;
        false
    }

    /// Called when the spare becomes a worker of this generation. Returns whether what
    /// [`prepare_spare`](AppLoader::prepare_spare) has done is what a process that starts now would do. If not, this
    /// process ends, and another one is started.
    #[cfg(all(unix, feature = "reload"))]
    fn start_spare(&mut self, generation: u64) -> bool {
        let _ = generation;
        true
    }

    /// Returns further applications, each for a host. An application replaces the one of
    /// [`RunOptions::hosts`](crate::RunOptions::hosts) with the same host. Called after the application has been loaded.
    #[cfg(feature = "toolkit")]
    fn hosts(&mut self) -> Vec<(String, Arc<dyn Application>)> {
        Vec::new()
    }

    /// Changes settings that depend on the application. Called after the application has been loaded and before the
    /// server is made.
    ///
    /// # Errors
    /// The reason why the application can't be served; [`ServerBuilder::run`](crate::ServerBuilder::run) returns it.
    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        let _ = settings;
        Ok(())
    }

    /// Called with the server before it serves, for example to install signal handlers. A handler that stops only this
    /// process calls [`Worker::announce_exit`] first.
    ///
    /// # Errors
    /// The reason why the server can't start; [`ServerBuilder::run`](crate::ServerBuilder::run) returns it.
    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        let _ = (server, worker);
        Ok(())
    }

    /// Returns the name of the event loop that drives the server as its guest, for the banner; `None` for a server that
    /// drives itself. Called after the application has been loaded. A loader with such a loop overrides
    /// [`serve`](AppLoader::serve), too.
    fn guest_of(&self) -> Option<String> {
        None
    }

    /// Serves until the server is told to stop. A loader whose server is a guest may return before that, and keep the server
    /// and `end` until the server has stopped.
    ///
    /// # Errors
    /// The error that ended the server.
    fn serve(&mut self, mut server: Server, end: ServeEnd) -> Result<(), ServeError> {
        let served = server.serve_forever();
        drop(end);
        served
    }
}

/// What this process has to do when its server has stopped: it ends what it has started and would leave behind, and tells
/// its supervisor. Dropping the value does that.
#[derive(Default)]
pub struct ServeEnd {
    steps: Vec<Box<dyn FnOnce() + Send>>,
}

impl ServeEnd {
    /// Adds a step, which follows those that were added before.
    #[must_use]
    pub(crate) fn then(mut self, step: impl FnOnce() + Send + 'static) -> ServeEnd {
        self.steps.push(Box::new(step));
        self
    }
}

impl Drop for ServeEnd {
    fn drop(&mut self) {
        self.steps.drain(..).for_each(|step| step());
    }
}

impl fmt::Debug for ServeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeEnd").field("steps", &self.steps.len()).finish()
    }
}

impl<L: AppLoader + ?Sized> AppLoader for &mut L {
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        (**self).load_app(worker)
    }

    #[cfg(all(unix, feature = "reload"))]
    fn prepare_spare(&mut self, worker: &Worker) -> bool {
        (**self).prepare_spare(worker)
    }

    #[cfg(all(unix, feature = "reload"))]
    fn start_spare(&mut self, generation: u64) -> bool {
        (**self).start_spare(generation)
    }

    #[cfg(feature = "toolkit")]
    fn hosts(&mut self) -> Vec<(String, Arc<dyn Application>)> {
        (**self).hosts()
    }

    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        (**self).configure(settings)
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        (**self).started(server, worker)
    }

    fn guest_of(&self) -> Option<String> {
        (**self).guest_of()
    }

    fn serve(&mut self, server: Server, end: ServeEnd) -> Result<(), ServeError> {
        (**self).serve(server, end)
    }
}

/// A function that is called with the server before it serves.
type OnStart = Box<dyn FnOnce(&Server, &Worker) -> Result<(), RunError> + Send>;

/// The loader of an application that exists already.
pub struct StaticApp {
    app: Arc<dyn Application>,
    on_start: Option<OnStart>,
}

impl StaticApp {
    pub(crate) fn new(app: Arc<dyn Application>) -> StaticApp {
        StaticApp { app, on_start: None }
    }

    pub(crate) fn set_on_start(&mut self, on_start: OnStart) {
        self.on_start = Some(on_start);
    }
}

impl AppLoader for StaticApp {
    fn load_app(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Ok(self.app.clone())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        self.on_start.take().map_or(Ok(()), |on_start| on_start(server, worker))
    }
}
