//! Turns the application's result into a response body.
//!
//! Lists and tuples become one block, a `wsgi.file_wrapper` a file, anything else a [`BlockIterator`].

use std::io::Read;
use std::sync::Arc;

use amboss::{Body, Log};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::runtime::finalize::detach;
use crate::worker::watchdog::Watchdog;
use crate::wsgi::block_iterator::{BlockIterator, CloseOnce};
use crate::wsgi::convert::join;
use crate::wsgi::file_wrapper::FileWrapper;
use crate::wsgi::socket::ConnectionSocket;
use crate::wsgi::start_response::StartResponse;
use crate::wsgi::werkzeug_response::is_single_block;

/// The maximum unread rest of a request body that is kept for an application that reads while its response is iterated:
/// the server has read that much ahead in any case.
const MAX_KEPT_INPUT: u64 = 16 * 1024;

/// Makes a body from the application's result. Produces the first block, because an iterable may call `start_response`
/// as late as that.
pub(crate) fn make_body<'py>(
    py: Python<'py>,
    result: Bound<'py, PyAny>,
    request: &Bound<'py, StartResponse>,
    socket: Option<&Bound<'py, ConnectionSocket>>,
    log: &Arc<dyn Log>,
    watchdog: Option<&Arc<Watchdog>>,
) -> PyResult<Body> {
    // The blocks of a list or tuple are known, and they have no `close`.
    let blocks: Option<Vec<_>> = if let Ok(list) = result.cast_exact::<PyList>() {
        Some(list.iter().collect())
    } else if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        Some(tuple.iter().collect())
    } else {
        None
    };
    if let Some(joined) = blocks.map(|blocks| join(&blocks)).transpose()?.flatten() {
        return Ok(Body::from(joined));
    }
    if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
        match wrapper.get().sendable_file(py) {
            Ok(Some(file)) => {
                let mut close = CloseOnce::new(result.unbind(), log.clone());
                return Ok(Body::file(file).on_close(move || close.close_detached()));
            }
            Ok(None) => {}
            Err(error) => {
                CloseOnce::new(result.unbind(), log.clone()).close(py);
                return Err(error);
            }
        }
    }
    let is_single = is_single_block(&result);
    let mut blocks = BlockIterator::new(py, result, log, watchdog.cloned())?;
    match blocks.next_non_empty(py) {
        Ok(None) => Ok(blocks.into_close_only(py, socket)),
        Err(error) => {
            blocks.finish(py);
            Err(error)
        }
        Ok(Some(first)) if is_single => {
            let whole = Body::from(first.as_bytes().to_vec());
            blocks.finish(py);
            Ok(whole)
        }
        Ok(Some(first)) if !secure_input(py, request) => {
            // The application may read its input while it is iterated, which is possible only during the call.
            if let Err(error) = write_all(py, &mut blocks, first, request.get()) {
                blocks.finish(py);
                return Err(error);
            }
            Ok(blocks.into_close_only(py, socket))
        }
        Ok(Some(first)) => Ok(blocks.into_body(py, &first, socket)),
    }
}

/// Makes the rest of the request body available after the application's call. Returns true if nothing is left, or if
/// the rest is small and has been kept.
fn secure_input(py: Python<'_>, request: &Bound<'_, StartResponse>) -> bool {
    let request = request.get();
    match request.progress.left() {
        Some(0) => true,
        // The client sends the body only after the application reads, which it may never do.
        _ if request.progress.awaits_continue() => false,
        Some(left) if left <= MAX_KEPT_INPUT => {
            let read = detach(py, || {
                request.server.with_detached(|_, input| {
                    let mut rest = Vec::new();
                    input.read_to_end(&mut rest).map(|_| rest)
                })
            });
            // An error is not reported here: the application gets it when it reads.
            if let Some(Ok(rest)) = read {
                request.progress.keep(rest);
                return true;
            }
            false
        }
        _ => false,
    }
}

/// Sends all blocks before the application's call ends.
fn write_all(
    py: Python<'_>,
    blocks: &mut BlockIterator,
    first: Bound<'_, PyBytes>,
    request: &StartResponse,
) -> PyResult<()> {
    request.write(py, first.as_any())?;
    while let Some(next) = blocks.next_block(py)? {
        request.write(py, next.as_any())?;
    }
    Ok(())
}
