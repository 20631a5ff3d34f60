//! Connections on their way through this process. A child that is made by a fork gets a copy of every descriptor, and has
//! to know which of them are other children's clients: their connections would stay open for as long as it lives.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::control::Message;

/// All of them. Locked while one is received, and while a process is forked: in between there is none that is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Passing(Arc<Mutex<HashSet<RawFd>>>);

impl Passing {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashSet<RawFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message that was received; a connection is known from when it was.
    pub(super) fn message(&self, message: Message) -> Passenger {
        Passenger { passing: self.clone(), message }
    }
}

/// A message, which may be a connection; forgotten before it is closed.
#[derive(Debug)]
pub(super) struct Passenger {
    passing: Passing,
    message: Message,
}

impl Passenger {
    pub(super) fn message(&self) -> &Message {
        &self.message
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let mut known = self.passing.lock();
        for descriptor in self.message.descriptors() {
            known.remove(&descriptor.as_raw_fd());
        }
    }
}
