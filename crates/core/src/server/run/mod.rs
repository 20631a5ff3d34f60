//! The drivers of event loops: who waits, and where the application runs.
//!
//! | driver | the application runs | used by |
//! |---|---|---|
//! | `single` | in the thread that waits; one request at a time | [`BaseWsgiServer`](super::BaseWsgiServer) |
//! | `threaded` | in the threads of a leader pool for each loop | [`ThreadedWsgiServer`](super::ThreadedWsgiServer) |
//! | `forking` | in a process for each request | [`ForkingWsgiServer`](super::ForkingWsgiServer) |

#[cfg(unix)]
mod child_report;
#[cfg(unix)]
pub(crate) mod forking;
pub(crate) mod leader_pool;
pub(crate) mod single;
pub(crate) mod threaded;
