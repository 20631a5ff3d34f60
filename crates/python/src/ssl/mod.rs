//! `ssl_context=ssl.SSLContext(...)`: TLS by Python's `ssl` module, so that whatever the context was told holds.
//!
//! An event loop never waits for the interpreter's lock. It moves encrypted bytes between the sockets and the [`Channel`]
//! of each connection; a thread of its own, the [`Engine`], attaches to the interpreter once for all channels that have
//! work, runs their `SSLObject`s over memory buffers (`amboss/_tls.py`), and wakes the loops. A callback of the context that
//! takes its time thus delays other TLS connections at most.
//!
//! [`Channel`]: channel::Channel
//! [`Engine`]: engine::Engine

mod channel;
mod engine;
mod layer;
mod transport;

pub(crate) use layer::PySslLayer;
