//! [`CgiFolder`]: runs the scripts of a folder.

mod environment;
mod error_lines;
mod exchange;
mod fault;
mod head;
mod launch;
mod lookup;
mod options;
mod pipes;
mod process;
mod request_body;
mod slots;

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use self::error_lines::{printable, ErrorLines};
use self::exchange::{Exchange, Failure};
use self::fault::Fault;
use self::lookup::{FoundScript, ScriptFolder};
use self::process::Script;
use self::request_body::RequestBody;
use self::slots::Slots;
use super::error::{CgiError, CgiErrorKind};
use crate::error::HttpError;
use crate::head_path::decoded_path;
use crate::prefix::can_match;

pub use self::options::CgiOptions;
pub use self::process::kill_scripts;

/// An application that runs the CGI scripts of a folder (RFC 3875), for requests whose path begins with a prefix.
///
/// ```no_run
/// use amboss_core::ThreadedWsgiServer;
/// use amboss_toolkit::cgi::CgiFolder;
///
/// let scripts = CgiFolder::new("/cgi-bin", "/srv/cgi-bin")?;
/// ThreadedWsgiServer::bind("localhost:5000", scripts)?.serve_forever()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `/cgi-bin/report.py/2024?x=1` runs the file `report.py` of the folder with `SCRIPT_NAME=/cgi-bin/report.py`,
/// `PATH_INFO=/2024` and `QUERY_STRING=x=1`. Scripts may be in subfolders. Names that begin with a dot, and links that
/// leave the folder, are never run, and the content of a file is never sent. A file that is not executable is 403.
///
/// - **Environment:** built from nothing, see [`CgiOptions::inherit`]. No `HTTP_PROXY` (CVE-2016-5385), no
///   `PATH_TRANSLATED`, and no command-line arguments from the query (CVE-2012-1823). No command line is built for a
///   shell. The working folder is that of the script.
/// - **Request body:** passed to standard input as the script reads it. A body that is streamed without a length
///   ([`BodyMode::Stream`](amboss_core::BodyMode::Stream) and chunked) is 411, since CGI needs `CONTENT_LENGTH`.
/// - **Response:** each block is sent as soon as the script has written it. `Status` sets the status, and `Location`
///   alone means 302. A local redirect (RFC 3875 §6.2.2) goes to the client as well, since a second run of the request
///   within the server would pass by the middleware that protects the target.
/// - **Failures:** a malformed head, or an end before the head, is 502; too slow, 504; too many at once, 503. The log
///   ([`CgiOptions::log`]) says why, and has what the script writes to standard error. A script that fails after its
///   head ([`CgiOptions::check_exit_status`]) has its response cut, so that the client notices.
/// - **End:** the script and all processes of its group are killed when the client leaves before its response is
///   complete, and when a limit of [`CgiOptions`] is reached. A client that closes only its sending half counts as having
///   left ([`Client::has_left`](amboss_core::Client::has_left)). A script that works on after its response is complete
///   keeps its place among [`CgiOptions::max_running`], and has the time of [`CgiOptions::run_timeout`]. A program that
///   ends while scripts run calls [`kill_scripts`] first.
pub struct CgiFolder {
    /// Without a slash at the end.
    prefix: String,
    folder: ScriptFolder,
    options: CgiOptions,
    slots: Arc<Slots>,
    fallback: Option<Box<dyn Application>>,
}

impl CgiFolder {
    /// Opens a folder of scripts, with the default settings. The prefix begins with a slash; `/` stands for all paths,
    /// as behind middleware that has taken a prefix off.
    ///
    /// # Errors
    /// A prefix without a slash, or a folder that can't be opened.
    pub fn new(prefix: &str, folder: impl AsRef<Path>) -> Result<CgiFolder, CgiError> {
        if !can_match(prefix) {
            return Err(CgiErrorKind::Prefix(prefix.to_owned()).into());
        }
        let path = folder.as_ref();
        let folder = ScriptFolder::open(path).map_err(|error| CgiErrorKind::Folder(path.to_owned(), error))?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        let options = CgiOptions::default();
        let slots = Slots::new(options.max_running);
        Ok(CgiFolder { prefix, folder, options, slots, fallback: None })
    }

    /// Sets the settings.
    #[must_use]
    pub fn with_options(mut self, options: CgiOptions) -> CgiFolder {
        self.slots = Slots::new(options.max_running.max(1));
        self.options = options;
        self
    }

    /// Sets the application for all paths that do not begin with the prefix. Without one, they are 404.
    #[must_use]
    pub fn with_fallback(mut self, application: impl Application + 'static) -> CgiFolder {
        self.fallback = Some(Box::new(application));
        self
    }

    /// Whether a path is below the prefix, so that this runs a script for it.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        self.rest_of(path.as_ref()).is_some()
    }

    /// The part of a path behind the prefix.
    fn rest_of<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        path.strip_prefix(self.prefix.as_bytes()).filter(|rest| rest.is_empty() || rest[0] == b'/')
    }

    fn log(&self, script: &str, message: &str) {
        self.options.log.error(&format!("CGI script {script}: {message}"));
    }

    /// Runs a script that was found.
    fn run(
        &self,
        found: &FoundScript,
        environ: &mut Environ<'_>,
        start_response: &mut dyn StartResponse,
    ) -> Result<Body, AppError> {
        let script_name =
            [&environ.get("SCRIPT_NAME").unwrap_or_default(), self.prefix.as_bytes(), &found.name].concat();
        let shown = printable(&script_name);
        let Some(permit) = self.slots.acquire(self.options.queue_timeout) else {
            self.log(&shown, &format!("{} scripts run already (`max_running`)", self.options.max_running));
            let busy = HttpError::new(503).with_header("Retry-After", "1");
            return busy.with_description("Too many scripts run at once. Try again soon.").respond(start_response);
        };
        let length = match (environ.get("CONTENT_LENGTH").is_some(), environ.input().length()) {
            (false, Some(0)) => None,
            (_, Some(length)) => Some(length),
            (_, None) => {
                let refusal = HttpError::new(411);
                return refusal.with_description("A script needs the length of the body.").respond(start_response);
            }
        };
        let body = RequestBody::of(environ.input(), length.is_some())?;
        let is_streamed = matches!(body, RequestBody::Streamed);
        let variables = environment::script_variables(environ, found, &script_name, length, &self.options);
        let errors = ErrorLines::new(self.options.log.clone(), shown.clone(), self.options.max_error_output);
        let script = match Script::start(found, variables, body, environ.client(), errors, permit) {
            Ok(script) => script,
            Err(error) => {
                let hint = match error.kind() {
                    ErrorKind::NotFound => " (the interpreter in its first line is not there; a CR at the end of that line counts as a part of its name)",
                    ErrorKind::PermissionDenied => " (the file or its interpreter is not executable)",
                    _ => " (its first line has to be \"#!\" and an interpreter)",
                };
                self.log(&shown, &format!("it can't be started: {error}{hint}"));
                return failed(502, start_response);
            }
        };
        let is_head = environ.method() == "HEAD";
        // As in the forking server.
        let is_own_process = environ.text("wsgi.multiprocess") == "true" && environ.text("wsgi.multithread") == "false";
        let mut exchange = Exchange::new(script, &self.options, is_own_process);
        let streamed = if is_streamed { exchange.stream_body(environ, start_response) } else { Ok(()) };
        match streamed.and_then(|()| exchange.respond(is_head, start_response)) {
            Ok(body) => Ok(body),
            Err(Failure::Late(error)) => Err(error),
            Err(Failure::Early(fault)) => {
                if !matches!(fault, Fault::ClientLeft) {
                    self.log(&shown, &fault.to_string());
                }
                failed(fault.status(), start_response)
            }
        }
    }
}

/// Responds to a request whose script has failed. The client does not learn more; the log says why.
fn failed(status: u16, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let sentence = "The script of this address has failed. The log of the server says why.";
    HttpError::new(status).with_description(sentence).respond(start_response)
}

impl Application for CgiFolder {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.path().into_owned();
        let Some(rest) = self.rest_of(&path) else {
            return match &self.fallback {
                Some(application) => application.call(environ, start_response),
                None => HttpError::new(404).respond(start_response),
            };
        };
        match self.folder.find(rest) {
            Ok(found) => self.run(&found, environ, start_response),
            Err(error) => {
                if error.status() != 404 {
                    self.log(&printable(&path), &error.to_string());
                }
                HttpError::new(error.status()).with_description(error.page()).respond(start_response)
            }
        }
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let is_passed_on = decoded_path(&head).is_some_and(|path| !self.matches(path));
        is_passed_on
            && self.fallback.as_ref().is_some_and(|application| application.is_immediate(head, before_blocking))
    }
}

impl fmt::Debug for CgiFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CgiFolder")
            .field("prefix", &self.prefix)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
