//! The drivers of event loops: which thread polls, and where the application runs.
//!
//! | driver | the application runs | used by |
//! |---|---|---|
//! | `single` | in the thread that polls; one request at a time | [`BaseWsgiServer`](super::BaseWsgiServer) |
//! | `threaded` | in the threads of leader pools, one pool per loop | [`ThreadedWsgiServer`](super::ThreadedWsgiServer) |
//! | `forking` | in a separate process for each request | [`ForkingWsgiServer`](super::ForkingWsgiServer) |
//! | `guest` | in tasks of another event loop, which polls this one | [`Guest`](super::Guest) |

#[cfg(unix)]
mod child_report;
#[cfg(unix)]
pub(crate) mod forking;
#[cfg(unix)]
pub(crate) mod guest;
pub(crate) mod leader_pool;
pub(crate) mod single;
pub(crate) mod threaded;
