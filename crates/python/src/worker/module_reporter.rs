//! Reports to the supervisor on which files a reload depends: the imported modules, as they are imported.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use amboss::Worker;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::runtime::finalize::detach;

/// Reports files to the supervisor, from a program that ends before it serves. Raises `OSError` if that is impossible.
#[pyfunction]
pub(crate) fn report_files(files: Vec<PathBuf>) -> PyResult<()> {
    Ok(amboss::report_files_before_exit(&files)?)
}

/// Reports modules while the application runs; which files belong to them is decided in `amboss/_modules.py`.
pub(crate) struct ModuleReporter {
    worker: Worker,
    /// `sys.modules`.
    modules: Py<PyDict>,
    /// Modules for which an import was attempted since the last report, whether it succeeded or not.
    searched: Py<PyDict>,
    /// The size of `sys.modules` at the last report.
    reported: AtomicUsize,
    reporter: Py<PyAny>,
}

impl ModuleReporter {
    /// Reports the modules imported so far, and the files involved in `failed`, an import error. Returns `None` if no
    /// reloader watches this process.
    pub(crate) fn start(py: Python<'_>, worker: &Worker, failed: Option<&PyErr>) -> PyResult<Option<ModuleReporter>> {
        if !worker.is_reloading() {
            return Ok(None);
        }
        let package = py.import("amboss._modules")?;
        let reporter = package.getattr("ModuleReporter")?.call0()?;
        let searched = package.getattr("searched")?.cast_into::<PyDict>()?;
        let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
        if let Some(error) = failed {
            let files: Vec<PathBuf> = reporter.call_method1("files_of_error", (error.value(py),))?.extract()?;
            worker.report_files(&files);
        }
        let reporter = ModuleReporter {
            worker: worker.clone(),
            modules: modules.unbind(),
            searched: searched.unbind(),
            reported: AtomicUsize::new(0),
            reporter: reporter.unbind(),
        };
        reporter.report_new(py);
        Ok(Some(reporter))
    }

    /// Reports the modules imported since the last call.
    pub(crate) fn report_new(&self, py: Python<'_>) {
        let count = self.modules.bind(py).len();
        if self.reported.swap(count, Ordering::Relaxed) == count && self.searched.bind(py).is_empty() {
            return;
        }
        let files = self.reporter.bind(py).call_method0("new_files").and_then(|files| files.extract::<Vec<PathBuf>>());
        // A module with unusual attributes may make this fail. Its file is not watched then; the request must not fail.
        let files = files.unwrap_or_default();
        if !files.is_empty() {
            detach(py, || self.worker.report_files(&files));
        }
    }
}
