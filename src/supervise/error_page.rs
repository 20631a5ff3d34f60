//! The application that shows why the newest code can't be loaded. The supervisor starts it in place of the program,
//! and passes the output to show in a file.

use std::path::PathBuf;
use std::time::Duration;

use amboss_core::{AppError, Application, Body, Environ, StartResponse};
use amboss_reload::{error_page, error_text};

use super::variables;

/// How often an open page asks whether the program runs again. Short enough that a user who switches from the editor to
/// the browser finds the page reloaded.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const TITLE: &str = "The newest code doesn't run";

/// An application that responds to every request with 503 and the output.
pub(crate) struct ErrorPage {
    output: String,
}

impl ErrorPage {
    /// Whether this process was started for the error page.
    pub(crate) fn is_wanted() -> bool {
        variables::is_set(variables::ERROR_PAGE)
    }

    /// Returns the error page, if this process was started for it.
    pub(super) fn from_env() -> Option<ErrorPage> {
        let path = PathBuf::from(std::env::var_os(variables::ERROR_PAGE)?);
        let output = std::fs::read(path).unwrap_or_default();
        Some(ErrorPage { output: String::from_utf8_lossy(&output).into_owned() })
    }
}

impl Application for ErrorPage {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let (kind, text) = if environ.text("HTTP_ACCEPT").contains("text/html") {
            ("text/html; charset=utf-8", error_page(TITLE, &self.output, Some(POLL_INTERVAL)))
        } else {
            ("text/plain; charset=utf-8", error_text(TITLE, &self.output))
        };
        let fields = [("Content-Type", kind), ("Cache-Control", "no-store"), ("Retry-After", "1")];
        start_response.start("503 Service Unavailable", &fields)?;
        Ok(Body::from(text))
    }
}
