//! `wsgi.file_wrapper`: a file as a body, sent by the system where it can be, read block by block where not.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

/// `wsgi.file_wrapper`: yields blocks of a file-like object. The server sends a real file in one go.
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

    /// Closes the file, if it can be closed.
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
        // What is no bytes is for the server to complain about.
        let ended = block.cast::<PyBytes>().is_ok_and(|bytes| bytes.as_bytes().is_empty());
        Ok((!ended).then_some(block))
    }
}

impl FileWrapper {
    /// The file at its position, when it is one that the system can send; `None` when it has to be read.
    ///
    /// Only files that Python itself opened for bytes: others have descriptors, too, but what they read is not what
    /// lies in the file (`gzip.GzipFile` for one).
    pub(crate) fn system_file(&self, py: Python<'_>) -> PyResult<Option<File>> {
        static KINDS: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
        let kinds = KINDS.get_or_try_init(py, || {
            let io = py.import("io")?;
            let kinds = (io.getattr("FileIO")?, io.getattr("BufferedReader")?, io.getattr("BufferedRandom")?);
            PyResult::Ok(kinds.into_pyobject(py)?.unbind())
        })?;
        let kinds = kinds.bind(py);
        let mut file = self.file.bind(py).clone();
        // `tempfile` wraps a file that it removes later.
        if file.get_type().name()? == "_TemporaryFileWrapper" {
            file = file.getattr("file")?;
        }
        let is_plain = |file: &Bound<'_, PyAny>| -> PyResult<bool> {
            let kind = file.get_type();
            for plain in kinds {
                if kind.is(&plain) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if !is_plain(&file)? {
            return Ok(None);
        }
        if let Some(raw) = file.getattr_opt("raw")? {
            if !is_plain(&raw)? {
                return Ok(None);
            }
        }
        let descriptor: i32 = file.call_method0("fileno")?.extract()?;
        let Ok(position) = file.call_method0("tell").and_then(|position| position.extract::<u64>()) else {
            return Ok(None);
        };
        let copy = crate::runtime::ffi::borrow_descriptor(descriptor, |borrowed: BorrowedFd<'_>| {
            borrowed.try_clone_to_owned()
        })?;
        let mut file = File::from(copy);
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        // The position is shared with the application's file, which has read ahead into its own buffer.
        file.seek(SeekFrom::Start(position))?;
        Ok(Some(file))
    }
}
