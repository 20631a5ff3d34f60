//! `wsgi.errors`: a text stream whose lines and tracebacks become entries of the server's log.
//!
//! Each thread buffers what it has written until the line or the traceback is complete, so that entries of different
//! threads are not mixed.

use std::cell::RefCell;
use std::sync::Arc;

use amboss::Log;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::runtime::finalize::detach;
use crate::wsgi::convert::type_name;

/// The maximum size of a line that is buffered until its line feed, in bytes per thread; a longer one is logged in
/// pieces. Longer than any line that people write, and a thousand threads buffer at most 16 MiB.
const MAX_LINE: usize = 16 * 1024;

/// The maximum size of a traceback that is buffered until its end: some hundred frames, more than Python prints for a
/// RecursionError.
const MAX_TRACEBACK: usize = 64 * 1024;

thread_local! {
    /// What this thread has written to `wsgi.errors` and has not logged yet.
    static PENDING: RefCell<Pending> =
        const { RefCell::new(Pending { log: None, text: String::new(), traceback: Traceback::None }) };
}

/// A line or a traceback that is not complete yet. Its thread logs it when the thread ends.
struct Pending {
    log: Option<Arc<dyn Log>>,
    text: String,
    traceback: Traceback,
}

/// An entry for a log.
type Entry = (Arc<dyn Log>, String);

/// The part of a traceback that the last line belongs to. `traceback.print_exc` writes a traceback line by line; it is
/// one entry of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traceback {
    /// No traceback.
    None,
    /// The frames, before the line of the exception.
    Frames,
    /// The line of the exception. Another traceback may follow, of an exception that this one has caused.
    Exception,
    /// The text between two tracebacks that are connected.
    Between,
}

impl Traceback {
    /// Returns the state after another line, which may not belong to the traceback.
    fn after(self, text: &str) -> Traceback {
        // `print` also writes its `end` argument, which may be empty.
        let Some(line) = text.lines().next() else { return self };
        match self {
            _ if line.starts_with("Traceback (most recent") => Traceback::Frames,
            // Every line of an exception group is indented, including those of its exceptions.
            _ if line.trim_start().starts_with("+ Exception Group Traceback (most recent") => Traceback::Exception,
            Traceback::None => Traceback::None,
            // An empty line precedes the sentence that connects two tracebacks.
            Traceback::Exception if line.is_empty() => Traceback::Between,
            _ if line.is_empty() || line.starts_with(' ') => self,
            Traceback::Frames => Traceback::Exception,
            Traceback::Exception | Traceback::Between => Traceback::None,
        }
    }
}

impl Pending {
    fn take(&mut self) -> Option<Entry> {
        self.traceback = Traceback::None;
        let text = std::mem::take(&mut self.text);
        self.log.take().filter(|_| !text.is_empty()).map(|log| (log, text))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((log, text)) = self.take() {
            log.error(&text);
        }
    }
}

/// Logs what this thread has written to `wsgi.errors` without a line feed. Called when the thread leaves a request, so
/// that lines of two requests are not joined; the thread must not be attached to the interpreter.
pub(crate) fn flush_errors() {
    // This fails in a thread that is ending, which has logged its text already.
    let pending = PENDING.try_with(|pending| pending.borrow_mut().take());
    if let Ok(Some((log, text))) = pending {
        log.error(&text);
    }
}

/// `wsgi.errors`.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct ErrorStream {
    log: Arc<dyn Log>,
}

impl ErrorStream {
    pub(crate) fn new(log: Arc<dyn Log>) -> ErrorStream {
        ErrorStream { log }
    }

    /// Appends to this thread's buffer, and returns the entries that are complete now.
    fn append(&self, text: &str) -> Vec<Entry> {
        let mut complete = Vec::new();
        let appended = PENDING.try_with(|pending| {
            let mut pending = pending.borrow_mut();
            // Text for the log of another server in this process is a separate entry.
            if pending.log.as_ref().is_some_and(|log| !Arc::ptr_eq(log, &self.log)) {
                complete.extend(pending.take());
            }
            let traceback = pending.traceback.after(text);
            let traceback_ended = match pending.traceback {
                Traceback::None => false,
                Traceback::Exception => matches!(traceback, Traceback::None | Traceback::Frames),
                Traceback::Frames | Traceback::Between => traceback == Traceback::None,
            };
            if traceback_ended {
                complete.extend(pending.take());
            }
            pending.traceback = traceback;
            pending.text.push_str(text);
            if traceback != Traceback::None && pending.text.len() <= MAX_TRACEBACK {
                pending.log = Some(self.log.clone());
                return;
            }
            pending.traceback = Traceback::None;
            let mut end = pending.text.rfind('\n').map_or(0, |line_feed| line_feed + 1);
            if pending.text.len() - end > MAX_LINE {
                end = pending.text.len();
            }
            if end > 0 {
                let rest = pending.text.split_off(end);
                complete.push((self.log.clone(), std::mem::replace(&mut pending.text, rest)));
            }
            pending.log = (!pending.text.is_empty()).then(|| self.log.clone());
        });
        if appended.is_err() {
            // The thread is ending and has no buffer any more.
            complete.push((self.log.clone(), text.to_owned()));
        }
        complete
    }
}

#[pymethods]
impl ErrorStream {
    fn write(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<usize> {
        let text = text
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err(format!("wsgi.errors takes str, not {}", type_name(text))))?;
        let length = text.len()?;
        // A lone surrogate is replaced rather than losing the line.
        let complete = self.append(&text.to_string_lossy());
        if !complete.is_empty() {
            detach(py, || complete.iter().for_each(|(log, text)| log.error(text)));
        }
        Ok(length)
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, &line?)?;
        }
        Ok(())
    }

    #[allow(clippy::unused_self, reason = "a method of file objects")]
    fn flush(&self, py: Python<'_>) {
        detach(py, flush_errors);
    }
}
