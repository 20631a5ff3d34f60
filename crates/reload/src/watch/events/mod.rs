//! The system's file events, through the `notify` crate. They are only hints where to check; the snapshot determines
//! what has changed.

mod failure;
mod observer;
mod queue;

pub(super) use observer::EventObserver;
pub(super) use queue::{EventQueue, MIN_CHECK_INTERVAL};
