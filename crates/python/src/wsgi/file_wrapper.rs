//! `wsgi.file_wrapper`: a file as a response body. The server sends real files with `sendfile` and reads others block
//! by block.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use crate::runtime::ffi::with_borrowed_fd;

/// `wsgi.file_wrapper`: yields the blocks of a file-like object. The server sends a real file with sendfile.
#[pyclass(frozen, module = "amboss", name = "FileWrapper")]
pub(crate) struct FileWrapper {
    file: Py<PyAny>,
    block_size: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize = 8192, /))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> FileWrapper {
        FileWrapper { file: filelike, block_size: blksize }
    }

    #[getter]
    fn filelike(&self, py: Python<'_>) -> Py<PyAny> {
        self.file.clone_ref(py)
    }

    #[getter]
    fn blksize(&self) -> usize {
        self.block_size
    }

    /// Closes the file if it has a `close` method.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.file.bind(py).call_method1("read", (self.block_size,))?;
        // A block of another type is passed on, for the server to reject.
        let ended = block.cast::<PyBytes>().is_ok_and(|bytes| bytes.as_bytes().is_empty());
        Ok((!ended).then_some(block))
    }
}

impl FileWrapper {
    /// Returns the file at its current position if the system can send it; `None` if it must be read.
    ///
    /// Only files that Python itself opened in binary mode qualify. Other objects have descriptors too, but what they
    /// read is not the content of the file (for example `gzip.GzipFile`).
    pub(crate) fn sendable_file(&self, py: Python<'_>) -> PyResult<Option<File>> {
        static BINARY_FILE_TYPES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
        let types = BINARY_FILE_TYPES.get_or_try_init(py, || {
            let io = py.import("io")?;
            let types = (io.getattr("FileIO")?, io.getattr("BufferedReader")?, io.getattr("BufferedRandom")?);
            PyResult::Ok(types.into_pyobject(py)?.unbind())
        })?;
        let types = types.bind(py);
        let mut file = self.file.bind(py).clone();
        // `tempfile` wraps a file to delete it later.
        if file.get_type().name()? == "_TemporaryFileWrapper" {
            file = file.getattr("file")?;
        }
        let is_binary_file = |file: &Bound<'_, PyAny>| {
            let class = file.get_type();
            types.iter().any(|known| class.is(&known))
        };
        if !is_binary_file(&file) {
            return Ok(None);
        }
        if let Some(raw) = file.getattr_opt("raw")? {
            if !is_binary_file(&raw) {
                return Ok(None);
            }
        }
        let descriptor: i32 = file.call_method0("fileno")?.extract()?;
        let Ok(position) = file.call_method0("tell").and_then(|position| position.extract::<u64>()) else {
            return Ok(None);
        };
        let copy = with_borrowed_fd(descriptor, |borrowed| borrowed.try_clone_to_owned())?;
        let mut file = File::from(copy);
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        // The descriptor shares its offset with the application's file object, which has read ahead into its buffer.
        file.seek(SeekFrom::Start(position))?;
        Ok(Some(file))
    }
}
