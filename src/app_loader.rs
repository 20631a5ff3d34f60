//! Where an application comes from, and how its process waits.

use std::sync::Arc;

use amboss_core::{Application, ServeError, Server, Settings};

use crate::error::RunError;
use crate::worker::Worker;

/// Loads an application in the process that serves it.
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
    /// Loads the application. Called only in the process that serves it: neither in a supervisor, nor in a process that
    /// shows why the application can't be loaded.
    ///
    /// # Errors
    /// Why there is none; [`ServerBuilder::run`](crate::ServerBuilder::run) returns it.
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError>;

    /// Changes settings that depend on the application. Called when that has been loaded, before the server is made.
    ///
    /// # Errors
    /// Why the application can't be served; [`ServerBuilder::run`](crate::ServerBuilder::run) returns it.
    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        let _ = settings;
        Ok(())
    }

    /// Called with the server before it serves: to install signal handlers, for example. A signal may be meant for this
    /// process alone; see [`Worker::announce_exit`].
    ///
    /// # Errors
    /// Why the server can't begin.
    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        let _ = (server, worker);
        Ok(())
    }

    /// Serves until the server is told to stop.
    ///
    /// # Errors
    /// What ended the server.
    fn serve(&mut self, mut server: Server) -> Result<(), ServeError> {
        server.serve_forever()
    }
}

impl<L: AppLoader + ?Sized> AppLoader for &mut L {
    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        (**self).load_app(worker)
    }

    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        (**self).configure(settings)
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        (**self).started(server, worker)
    }

    fn serve(&mut self, server: Server) -> Result<(), ServeError> {
        (**self).serve(server)
    }
}

/// Called with the server before it serves.
type OnStart = Box<dyn FnOnce(&Server, &Worker) -> Result<(), RunError> + Send>;

/// An application that has been made already.
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
