//! [`DebugPages`]: middleware that responds to failures of an application with a page.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use amboss_core::http::Head;
use amboss_core::{
    catch_panic, AppError, Application, Body, DetachedId, Environ, FailureResponse, InputError, Log, RequestHandler,
    ResponseFilter, StartError, StartErrorKind, StartResponse, TextLog,
};

use crate::negotiate::{negotiate, Format};
use crate::page::Page;
use crate::project::Project;
use crate::render::Rendered;
use crate::report::FailureReport;
use crate::request::RequestInfo;

/// The status of the pages.
const FAILED: &str = "500 Internal Server Error";

/// The environ's key that says that pages load the script of the live reload.
const LIVE_RELOAD: &str = "amboss.live";
/// The fields in which a proxy passes on the address of its client.
const FORWARDING_FIELDS: [&str; 2] = ["X-Forwarded-For", "X-Real-IP"];

/// Makes the report of an error; `None` passes the error on to the server. See [`DebugPages::explain`].
pub type Explain = dyn Fn(&AppError, &Project) -> Option<FailureReport> + Send + Sync;

/// The [`Explain`] of [`DebugPages`]: reports the error and its causes, and passes on what is not the application's
/// failure: an [`InputError`], or the loss of the connection.
pub fn explain_error(error: &AppError, project: &Project) -> Option<FailureReport> {
    (!is_of_the_client(&**error)).then(|| FailureReport::from_error(&**error, project))
}

/// Middleware that responds to an error or a panic of an application with a page that explains it, and logs it.
///
/// The page shows source code and the environ, so clients on other machines do not get it unless
/// [`allow_remote`](DebugPages::allow_remote) says so; a request that a proxy forwards for such a client is treated in the same way.
/// For them the failure is passed on, and the server responds as it does without this middleware. It is meant for
/// development, as the outermost middleware.
///
/// Failures that are not the application's are passed on as well: an [`InputError`], whose status is the server's to send,
/// and the loss of the connection. So is every failure after the head has been sent: the server cuts the connection. A
/// failure of the blocks of a [`Body`] happens after the call, and is the server's.
///
/// ```
/// use amboss_core::{AppError, Body, Environ, StartResponse};
/// use amboss_debugger::DebugPages;
///
/// fn app(_: &mut Environ<'_>, _: &mut dyn StartResponse) -> Result<Body, AppError> {
///     let port: u16 = "a lot".parse()?;
///     unreachable!("{port}")
/// }
///
/// let app = DebugPages::new(app);
/// # fn is_application(_: impl amboss_core::Application) {}
/// # is_application(app);
/// ```
pub struct DebugPages<A> {
    app: A,
    pages: Arc<Pages>,
    allow_remote: bool,
    handler: Arc<dyn RequestHandler>,
    log: Arc<dyn Log>,
}

/// What makes the pages. A response that is detached from its call keeps it.
#[derive(Clone)]
struct Pages {
    project: Project,
    page: Page,
    versions: Vec<(String, String)>,
    explain: Arc<Explain>,
}

/// What a page shows of the request, and how.
#[derive(Clone)]
struct Requested {
    request: RequestInfo,
    format: Format,
    live_reload: bool,
}

impl Requested {
    fn from_environ(environ: &Environ<'_>) -> Requested {
        Requested {
            request: RequestInfo::from_environ(environ),
            format: negotiate(&environ.header("Accept").unwrap_or_default()),
            live_reload: environ.get(LIVE_RELOAD).is_some(),
        }
    }
}

impl Pages {
    fn render(&self, requested: Requested, report: FailureReport) -> Rendered {
        let add_version =
            |report: FailureReport, (name, version): &(String, String)| report.with_version(name, version);
        let report = self.versions.iter().fold(report, add_version).with_request(requested.request);
        let page = self.page.clone().live_reload(self.page.live_reload || requested.live_reload);
        page.render(&report, requested.format)
    }
}

/// Passes a response on. If the application detaches it from its call, a filter makes the page for a later failure.
struct Detaching<'a> {
    inner: &'a mut dyn StartResponse,
    pages: &'a Arc<Pages>,
    /// Set after the call, when the request is known as the application has seen it.
    requested: Option<Arc<OnceLock<Requested>>>,
}

impl StartResponse for Detaching<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        self.inner.begin(status, fields, error)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        self.inner.write(data)
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        self.inner.early_hints(fields)
    }

    fn flush(&mut self) -> Result<(), StartError> {
        self.inner.flush()
    }

    fn detach(&mut self, mut filters: Vec<Box<dyn ResponseFilter>>) -> Option<DetachedId> {
        let requested = Arc::default();
        filters.push(Box::new(LaterFailure { pages: self.pages.clone(), requested: Arc::clone(&requested) }));
        let id = self.inner.detach(filters)?;
        self.requested = Some(requested);
        Some(id)
    }
}

/// Makes the page for an application that fails after it has detached its response.
struct LaterFailure {
    pages: Arc<Pages>,
    requested: Arc<OnceLock<Requested>>,
}

impl ResponseFilter for LaterFailure {
    fn failure(&mut self, error: &AppError) -> Option<FailureResponse> {
        let requested = self.requested.get()?.clone();
        let report = (self.pages.explain)(error, &self.pages.project)?;
        let Rendered { fields, body } = self.pages.render(requested, report);
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
        Some(FailureResponse { status: FAILED.to_owned(), fields, body: body.into_bytes() })
    }
}

/// The request handler that behaves as the server does.
struct DefaultHandler;

impl RequestHandler for DefaultHandler {}

impl<A: Application> DebugPages<A> {
    /// Wraps an application. The project is the current folder, the editor that of `AMBOSS_EDITOR`, and failures are
    /// logged to standard error.
    pub fn new(app: A) -> DebugPages<A> {
        DebugPages {
            app,
            pages: Arc::new(Pages {
                project: Project::current(),
                page: Page::from_env(),
                versions: Vec::new(),
                explain: Arc::new(explain_error),
            }),
            allow_remote: false,
            handler: Arc::new(DefaultHandler),
            log: Arc::new(TextLog::stderr()),
        }
    }

    /// Sets the project, whose frames are open.
    #[must_use]
    pub fn project(mut self, project: Project) -> DebugPages<A> {
        self.pages_mut().project = project;
        self
    }

    /// Sets the settings of the pages.
    #[must_use]
    pub fn page(mut self, page: Page) -> DebugPages<A> {
        self.pages_mut().page = page;
        self
    }

    /// Adds the version of a program or library to the pages.
    #[must_use]
    pub fn version(mut self, name: &str, version: &str) -> DebugPages<A> {
        self.pages_mut().versions.push((name.to_owned(), version.to_owned()));
        self
    }

    /// Whether clients on other machines get the pages as well. They show source code and the environ.
    #[must_use]
    pub fn allow_remote(mut self, allow: bool) -> DebugPages<A> {
        self.allow_remote = allow;
        self
    }

    /// Sets how the reports of errors are made; [`explain_error`] by default. An application that runs in another
    /// runtime has errors that know more than their text. Not called for panics.
    #[must_use]
    pub fn explain(mut self, explain: Arc<Explain>) -> DebugPages<A> {
        self.pages_mut().explain = explain;
        self
    }

    /// Sets the log, usually that of the server. The server does not see a failure that this middleware has responded to,
    /// so the middleware logs it.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> DebugPages<A> {
        self.log = log;
        self
    }

    /// Sets the request handler, usually that of the server: its
    /// [`handle_error`](RequestHandler::handle_error) logs the failures.
    #[must_use]
    pub fn request_handler(mut self, handler: Arc<dyn RequestHandler>) -> DebugPages<A> {
        self.handler = handler;
        self
    }

    fn pages_mut(&mut self) -> &mut Pages {
        Arc::make_mut(&mut self.pages)
    }

    /// Whether the client of this request may get a page.
    fn may_respond(&self, environ: &Environ<'_>) -> bool {
        self.allow_remote || is_from_this_machine(environ)
    }

    fn respond(
        &self,
        environ: &Environ<'_>,
        start_response: &mut dyn StartResponse,
        report: FailureReport,
        error: AppError,
    ) -> Result<Body, AppError> {
        let rendered = self.pages.render(Requested::from_environ(environ), report);
        let fields: Vec<(&str, &[u8])> =
            rendered.fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        // This replaces a head that has been set. It fails if the head has been sent.
        if start_response.begin(FAILED, &fields, Some(&error)).is_err() {
            return Err(error);
        }
        self.handler.handle_error(&error, environ.head().request_line(), &*self.log);
        Ok(Body::from(rendered.body))
    }
}

impl<A: Application> Application for DebugPages<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        if !self.may_respond(environ) {
            return self.app.call(environ, start_response);
        }
        // The page can replace the head until the first block has been sent.
        let mut detaching = Detaching { inner: start_response, pages: &self.pages, requested: None };
        let called = catch_panic(|| self.app.call(environ, &mut detaching).and_then(Body::with_first_block));
        if let Some(requested) = detaching.requested {
            let _ = requested.set(Requested::from_environ(environ));
        }
        match called {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => match (self.pages.explain)(&error, &self.pages.project) {
                Some(report) => self.respond(environ, start_response, report, error),
                None => Err(error),
            },
            Err(panic) => {
                let report = FailureReport::from_panic(&panic.to_string(), &self.pages.project);
                // The server's words for a panic.
                let error = format!("panic in the application: {panic}").into();
                self.respond(environ, start_response, report, error)
            }
        }
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        self.app.is_immediate(head, before_blocking)
    }
}

/// Whether the client of a request is on this machine, and so is the client of a proxy that forwards it. Reports show source
/// code, so others do not get them.
pub fn is_from_this_machine(environ: &Environ<'_>) -> bool {
    let is_local = |address: &str| {
        let address = address.trim().trim_matches(['[', ']']);
        address == "<local>" || address.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
    };
    let is_forwarded_locally =
        |name: &&str| environ.header(name).is_none_or(|value| value.to_string_lossy().split(',').all(is_local));
    is_local(&environ.text("REMOTE_ADDR"))
        && FORWARDING_FIELDS.iter().all(is_forwarded_locally)
        // RFC 7239 allows names in place of addresses.
        && environ.header("Forwarded").is_none()
}

/// Whether the request body or the connection failed, and not the application.
fn is_of_the_client(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let is_input = error.is::<InputError>() || inner.is_some_and(|inner| inner.is::<InputError>());
        let start = error.downcast_ref::<StartError>().map(StartError::kind);
        if is_input || matches!(start, Some(StartErrorKind::Io(_))) {
            return true;
        }
        next = error.source();
    }
    false
}

impl<A> fmt::Debug for DebugPages<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("DebugPages");
        fields.field("project", &self.pages.project).field("allow_remote", &self.allow_remote).finish_non_exhaustive()
    }
}
