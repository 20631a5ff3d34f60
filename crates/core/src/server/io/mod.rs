//! What the server needs of the system: addresses, sockets, readiness, wake-ups, and protection of descriptors from forks.

pub(crate) mod address;
pub(crate) mod fork_guard;
pub(crate) mod poller;
pub(crate) mod socket;
pub(crate) mod transport;
pub(crate) mod waker;
