//! What is served in place of a program that can't be: the supervisor starts this executable once more, with the
//! output to show in a file.

use std::path::PathBuf;
use std::time::Duration;

use amboss_core::{AppError, Application, Body, Environ, StartResponse};
use amboss_reload::{error_page, error_text};

/// The variable that names the file.
pub(super) const VARIABLE: &str = "AMBOSS_ERROR_PAGE";
/// How often an open page asks whether the program is back: often enough to be there when one looks up.
const POLL: Duration = Duration::from_millis(500);
const TITLE: &str = "The newest code doesn't run";

/// Answers everything with 503 and the output.
pub(crate) struct ErrorPage {
    output: String,
}

impl ErrorPage {
    /// Was this process started for that?
    pub(crate) fn is_wanted() -> bool {
        std::env::var_os(VARIABLE).is_some()
    }

    /// If this process was started for that.
    pub(super) fn from_env() -> Option<ErrorPage> {
        let path = PathBuf::from(std::env::var_os(VARIABLE)?);
        let output = std::fs::read(path).unwrap_or_default();
        Some(ErrorPage { output: String::from_utf8_lossy(&output).into_owned() })
    }
}

impl Application for ErrorPage {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let (kind, text) = if environ.text("HTTP_ACCEPT").contains("text/html") {
            ("text/html; charset=utf-8", error_page(TITLE, &self.output, Some(POLL)))
        } else {
            ("text/plain; charset=utf-8", error_text(TITLE, &self.output))
        };
        let fields = [("Content-Type", kind), ("Cache-Control", "no-store"), ("Retry-After", "1")];
        start_response.start("503 Service Unavailable", &fields)?;
        Ok(Body::from(text))
    }
}
