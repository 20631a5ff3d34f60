//! The descriptors of connections that are passing through this process. A forked worker gets a copy of every
//! descriptor, and has to close those of other workers' clients: otherwise the clients' connections would stay open
//! until the forked worker ends.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::process::ControlMessage;
use crate::sync::lock;

/// The numbers of these descriptors. Locked while one is received and while a process is forked, so that no fork
/// happens while an open descriptor is missing here.
#[derive(Clone, Debug, Default)]
pub(super) struct FdRegistry(Arc<Mutex<HashSet<RawFd>>>);

impl FdRegistry {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashSet<RawFd>> {
        lock(&self.0)
    }

    /// Wraps a received message whose descriptors are registered already.
    pub(super) fn track(&self, message: ControlMessage) -> TrackedMessage {
        TrackedMessage { registry: self.clone(), message }
    }
}

/// A message whose descriptors are removed from the registry before they are closed.
#[derive(Debug)]
pub(super) struct TrackedMessage {
    registry: FdRegistry,
    message: ControlMessage,
}

impl TrackedMessage {
    pub(super) fn message(&self) -> &ControlMessage {
        &self.message
    }
}

impl Drop for TrackedMessage {
    fn drop(&mut self) {
        // No fork happens between this and the closing of the descriptors: the supervisor's thread both drops the
        // messages and forks.
        let mut registered = self.registry.lock();
        for descriptor in self.message.descriptors() {
            registered.remove(&descriptor.as_raw_fd());
        }
    }
}
