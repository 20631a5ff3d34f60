//! The application that explains why the newest code can't be loaded. The supervisor starts it in place of the program,
//! and passes the output to show in a file.

use std::path::PathBuf;
use std::time::Duration;

use amboss_core::{AppError, Application, Body, Environ, StartResponse};
use amboss_debugger::{is_from_this_machine, negotiate, FailureReport, Page, Project};

use super::variables;

/// How often an open page asks whether the program runs again. Short enough that a user who switches from the editor to
/// the browser finds the page reloaded.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const TITLE: &str = "The newest code doesn't run";

/// An application that responds to every request with 503 and a report of the output: as HTML, text or JSON.
pub(crate) struct ErrorPage {
    report: FailureReport,
    page: Page,
    /// Whether clients on other machines get the report as well, which has source code in it.
    allow_remote: bool,
}

impl ErrorPage {
    /// Whether this process was started for the error page.
    pub(crate) fn is_wanted() -> bool {
        variables::is_set(variables::ERROR_PAGE)
    }

    /// Returns the error page, if this process was started for it.
    pub(super) fn from_env(allow_remote: bool) -> Option<ErrorPage> {
        let path = PathBuf::from(std::env::var_os(variables::ERROR_PAGE)?);
        let output = std::fs::read(path).unwrap_or_default();
        let report = FailureReport::from_output(TITLE, &output, &Project::current());
        Some(ErrorPage { report, page: Page::from_env().poll(POLL_INTERVAL), allow_remote })
    }
}

impl Application for ErrorPage {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        if !self.allow_remote && !is_from_this_machine(environ) {
            start_response.start("503 Service Unavailable", &[("Content-Type", "text/plain"), ("Retry-After", "1")])?;
            return Ok(Body::from("The newest code doesn't run. The log of the server says why.\n"));
        }
        let format = negotiate(&environ.header("Accept").unwrap_or_default());
        let rendered = self.page.render(&self.report, format);
        let mut fields = rendered.fields;
        fields.push(("Retry-After", "1".to_owned()));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        start_response.start("503 Service Unavailable", &fields)?;
        Ok(Body::from(rendered.body))
    }
}
