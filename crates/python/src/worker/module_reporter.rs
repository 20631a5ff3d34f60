//! Telling the supervisor which files a reload depends on: the modules that are imported, as they are.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use amboss::Worker;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::runtime::finalize::detach;

/// Reports modules as they come.
pub(crate) struct Reporter {
    worker: Worker,
    modules: Py<PyDict>,
    /// Modules that were looked for since the last look, also in vain.
    looked_for: Py<PyDict>,
    /// How many there were at the last look.
    seen: AtomicUsize,
    reporter: Py<PyAny>,
}

/// Reports what is imported now, and what failed to be; `None` when nobody watches.
pub(crate) fn begin(py: Python<'_>, worker: &Worker, failed: Option<&PyErr>) -> PyResult<Option<Reporter>> {
    if !worker.is_reloading() {
        return Ok(None);
    }
    let ours = py.import("amboss._modules")?;
    let reporter = ours.getattr("Reporter")?.call0()?;
    let looked_for = ours.getattr("looked_for")?.cast_into::<PyDict>()?;
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    if let Some(error) = failed {
        let files: Vec<PathBuf> = reporter.call_method1("files_of", (error.value(py),))?.extract()?;
        worker.report_files(&files);
    }
    let reporter = Reporter {
        worker: worker.clone(),
        modules: modules.unbind(),
        looked_for: looked_for.unbind(),
        seen: AtomicUsize::new(0),
        reporter: reporter.unbind(),
    };
    reporter.look(py);
    Ok(Some(reporter))
}

impl Reporter {
    /// Reports what was imported since the last look.
    pub(crate) fn look(&self, py: Python<'_>) {
        let now = self.modules.bind(py).len();
        if self.seen.swap(now, Ordering::Relaxed) == now && self.looked_for.bind(py).is_empty() {
            return;
        }
        let files = self.reporter.bind(py).call_method0("new_files").and_then(|files| files.extract::<Vec<PathBuf>>());
        // A module that describes itself in an odd way is not watched; that is no reason to fail a request.
        let files = files.unwrap_or_default();
        if !files.is_empty() {
            detach(py, || self.worker.report_files(&files));
        }
    }
}
