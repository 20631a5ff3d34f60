//! Connections on their way from a worker that stops to one that serves.

use std::collections::VecDeque;

use rustix::process::{getrlimit, Resource};

use super::fd_registry::TrackedMessage;
use super::processes::Processes;

/// Forwards connections to the workers of the newest generation in turn, and holds them while there is none.
#[derive(Debug)]
pub(super) struct Handover {
    held: VecDeque<TrackedMessage>,
    max_held: usize,
    next_worker: usize,
}

impl Handover {
    pub(super) fn new(max_held: usize) -> Handover {
        // Use at most half of the descriptors: the supervisor needs others to start the workers that take the
        // connections.
        let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let max_held = descriptors.map_or(max_held, |limit| max_held.min(limit / 2));
        Handover { held: VecDeque::new(), max_held, next_worker: 0 }
    }

    /// Takes a connection; [`forward`](Handover::forward) sends it on.
    pub(super) fn take(&mut self, connection: TrackedMessage) {
        while !self.held.is_empty() && self.held.len() >= self.max_held {
            self.held.pop_front();
        }
        if self.max_held > 0 {
            self.held.push_back(connection);
        }
    }

    /// Closes the held connections, and those that are taken from now on, because nothing will serve them.
    pub(super) fn close(&mut self) {
        self.held.clear();
        self.max_held = 0;
    }

    /// Sends on the held connections as far as possible. `serving` lists the workers that serve, by generation and id;
    /// `expects_worker` says whether another may become ready.
    pub(super) fn forward(&mut self, serving: &[(u64, u64)], expects_worker: bool, processes: &mut Processes) {
        while let Some(connection) = self.held.front() {
            let able: Vec<&(u64, u64)> = serving.iter().filter(|(_, id)| processes.takes_connections(*id)).collect();
            let newest = able.iter().map(|(generation, _)| *generation).max();
            let able: Vec<u64> =
                able.iter().filter(|(generation, _)| Some(*generation) == newest).map(|(_, id)| *id).collect();
            if able.is_empty() {
                if !serving.is_empty() && !expects_worker {
                    // The serving workers take no connections, so the clients have to connect again.
                    self.held.clear();
                }
                return;
            }
            self.next_worker = self.next_worker.wrapping_add(1);
            if processes.send(able[self.next_worker % able.len()], connection.message()) {
                self.held.pop_front();
            }
        }
    }
}
