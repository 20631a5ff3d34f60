//! What differs between programs that are served, and what a process that serves can tell its supervisor.

#[cfg(all(unix, feature = "reload"))]
use std::path::PathBuf;
use std::sync::Arc;

use amboss_core::{Application, ServeError, Server, Settings};

use crate::run::RunError;

/// What differs between programs that are served: where the application comes from, and how the process waits.
///
/// ```no_run
/// use std::sync::Arc;
/// use amboss::{run_host, Address, AppError, Application, Body, Environ, Host, RunError, RunOptions, StartResponse, Worker};
///
/// struct Late;
///
/// impl Host for Late {
///     fn application(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
///         // Only here, in the process that serves, is it worth the while to read a large model.
///         let greeting = if worker.is_supervised() { "Hello from a child!\n" } else { "Hello!\n" };
///         let app = move |_: &mut Environ<'_>, start: &mut dyn StartResponse| -> Result<Body, AppError> {
///             start.start("200 OK", &[("Content-Type", "text/plain")])?;
///             Ok(Body::from(greeting))
///         };
///         Ok(Arc::new(app))
///     }
/// }
///
/// run_host(&[Address::new("localhost", 5000)], Late, RunOptions::default())?;
/// # Ok::<(), RunError>(())
/// ```
pub trait Host {
    /// Makes the application, in the process that serves, and only there: the supervisor never calls it, and a process
    /// that shows why the application can't be made doesn't, either.
    ///
    /// # Errors
    /// Why there is none; it comes out of [`run_host`](crate::run_host).
    fn application(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError>;

    /// Changes settings once the application is there, before the server is made: those that depend on it.
    ///
    /// # Errors
    /// Why the application can't be served; it comes out of [`run_host`](crate::run_host).
    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        let _ = settings;
        Ok(())
    }

    /// A look at the server before it serves: to watch for signals, which may be meant for this process alone (see
    /// [`Worker::leave`]).
    ///
    /// # Errors
    /// Why it can't begin.
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

impl<H: Host + ?Sized> Host for &mut H {
    fn application(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        (**self).application(worker)
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

/// An application that is there already.
pub(crate) struct StaticApp<F> {
    pub(crate) app: Arc<dyn Application>,
    /// Taken when it is called.
    pub(crate) started: Option<F>,
}

impl<F: FnOnce(&Server, &Worker) -> Result<(), RunError>> Host for StaticApp<F> {
    fn application(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Ok(self.app.clone())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        self.started.take().map_or(Ok(()), |started| started(server, worker))
    }
}

/// This process as one of a supervisor's children. Without a supervisor nothing that is told here has an effect.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    #[cfg(all(unix, feature = "reload"))]
    pub(crate) supervisor: Option<crate::reload::ToSupervisor>,
    #[cfg(all(unix, feature = "reload"))]
    pub(crate) server_fd: Option<i32>,
}

#[cfg(all(unix, feature = "reload"))]
impl Worker {
    /// Was this process started by a supervisor?
    pub fn is_supervised(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Does the supervisor watch files, to replace this process when one of them changes?
    pub fn is_reloading(&self) -> bool {
        self.supervisor.as_ref().is_some_and(crate::reload::ToSupervisor::is_reloading)
    }

    /// The number of the first listening socket that the supervisor has passed on, while this process listens; `None`
    /// without a supervisor.
    pub fn server_fd(&self) -> Option<i32> {
        self.server_fd
    }

    /// Asks the supervisor to watch these files as well: those that the application consists of. Also files that are not
    /// there yet, or could not be read: the process may end right after, and is started again when they change.
    pub fn report_files(&self, files: &[PathBuf]) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.report_files(files);
        }
    }

    /// Asks the supervisor for a successor. When that is ready, this process finishes what it runs, and its connections
    /// go on there; until then it serves. Asking twice is asking once.
    pub fn ask_to_be_replaced(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.ask_to_be_replaced();
        }
    }

    /// Tells the supervisor that this process is about to stop, and that this is not the end of the whole: a signal was
    /// sent to this process alone, say. Another one takes its place. Without that, a process whose server is told to stop,
    /// and not by the supervisor, ends all of them.
    pub fn leave(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.leave();
        }
    }
}

#[cfg(not(all(unix, feature = "reload")))]
impl Worker {
    /// Was this process started by a supervisor? Not here.
    pub fn is_supervised(&self) -> bool {
        false
    }

    /// Does the supervisor watch files? Not here.
    pub fn is_reloading(&self) -> bool {
        false
    }

    /// The number of the first listening socket that the supervisor has passed on: none here.
    pub fn server_fd(&self) -> Option<i32> {
        None
    }

    /// Without an effect here.
    pub fn report_files(&self, _: &[std::path::PathBuf]) {}

    /// Without an effect here.
    pub fn ask_to_be_replaced(&self) {}

    /// Without an effect here.
    pub fn leave(&self) {}
}
