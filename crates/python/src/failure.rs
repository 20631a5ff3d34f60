//! The reports of Python exceptions for the debugger's pages.

use amboss::debugger::{self, FailureReport, Project};
use amboss::AppError;
use pyo3::prelude::*;

use crate::errors::AppException;
use crate::runtime::ffi::attach;

/// Makes the report of an error. `None` for what is not the application's failure.
pub(crate) fn explain(error: &AppError, project: &Project) -> Option<FailureReport> {
    let Some(exception) = error.downcast_ref::<AppException>() else {
        return debugger::explain_error(error, project);
    };
    if exception.is_of_client() {
        return None;
    }
    // The traceback is what remains if the exception can't be collected.
    let from_traceback = || FailureReport::from_output("exception", exception.to_string().as_bytes(), project);
    Some(collect(exception, project).unwrap_or_else(from_traceback))
}

fn collect(exception: &AppException, project: &Project) -> Option<FailureReport> {
    let collected: PyResult<String> = attach(|py| {
        if let Some(report) = &exception.report {
            return Ok(report.clone());
        }
        let error = &exception.error;
        py.import("amboss._failure")?.call_method1("collect", (error.value(py), error.traceback(py)))?.extract()
    });
    let document = serde_json::from_str(&collected.ok()?).ok()?;
    FailureReport::from_json(&document, project).ok()
}
