//! What a lookup has found, from the question whether a request is immediate to its answer right after it.
//!
//! Both need the file. Kept in between, it is opened once, and it can't be deleted meanwhile, so a request that was taken for
//! one of a file never reaches the application.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::found::Found;

/// How old a result may be. The answer follows the question at once and in the same thread; a result that is older belongs
/// to a request that something else has answered.
const MAX_AGE: Duration = Duration::from_millis(10);

struct LookedUp {
    /// The address of the folder, which distinguishes it from others.
    folder: usize,
    path: Vec<u8>,
    found: Found<'static>,
    at: Instant,
}

thread_local! {
    static LAST: RefCell<Option<LookedUp>> = const { RefCell::new(None) };
}

/// Keeps a result for the next call in this thread. `folder` is the address of the folder.
pub(super) fn keep(folder: usize, path: &[u8], found: Found<'_>) {
    let looked_up = LookedUp { folder, path: path.to_vec(), found: found.into_owned(), at: Instant::now() };
    LAST.with(|last| *last.borrow_mut() = Some(looked_up));
}

/// Takes the result for a path below a folder, if it is the last one of this thread.
pub(super) fn take(folder: usize, path: &[u8]) -> Option<Found<'static>> {
    LAST.with(|last| {
        let fits = |last: &LookedUp| last.folder == folder && last.path == path && last.at.elapsed() < MAX_AGE;
        last.borrow_mut().take_if(|last| fits(last)).map(|last| last.found)
    })
}
