//! Connections on their way from a child that leaves to one that serves.

use std::collections::VecDeque;

use rustix::process::{getrlimit, Resource};

use super::passing::Passenger;
use super::processes::{Processes, Sent};

/// Forwards connections to the children of the newest generation in turn, and keeps them while there is none.
#[derive(Debug)]
pub(super) struct Handover {
    kept: VecDeque<Passenger>,
    most: usize,
    turn: usize,
}

impl Handover {
    pub(super) fn new(most: usize) -> Handover {
        // The other half is for starting whoever is to serve them.
        let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let most = descriptors.map_or(most, |limit| most.min(limit / 2));
        Handover { kept: VecDeque::new(), most, turn: 0 }
    }

    /// Takes a connection; [`forward`](Handover::forward) sends it on.
    pub(super) fn take(&mut self, connection: Passenger) {
        while !self.kept.is_empty() && self.kept.len() >= self.most {
            self.kept.pop_front();
        }
        if self.most > 0 {
            self.kept.push_back(connection);
        }
    }

    /// Nobody serves any more: what is kept is closed, and so is what comes.
    pub(super) fn end(&mut self) {
        self.kept.clear();
        self.most = 0;
    }

    /// Sends on what can be sent. `serving` are the children that take connections, `more` says that another may come.
    pub(super) fn forward(&mut self, serving: &[(u64, u64)], more: bool, processes: &mut Processes) {
        while let Some(connection) = self.kept.front() {
            let able: Vec<&(u64, u64)> = serving.iter().filter(|(_, id)| processes.speaks(*id)).collect();
            let newest = able.iter().map(|(generation, _)| *generation).max();
            let able: Vec<u64> =
                able.iter().filter(|(generation, _)| Some(*generation) == newest).map(|(_, id)| *id).collect();
            if able.is_empty() {
                if !serving.is_empty() && !more {
                    // Whoever serves does not take connections: their clients have to come again.
                    self.kept.clear();
                }
                return;
            }
            self.turn = self.turn.wrapping_add(1);
            if let Sent::Yes = processes.hand(able[self.turn % able.len()], connection.message()) {
                self.kept.pop_front();
            }
        }
    }
}
