//! Taking turns: every peer is measured once, then every peer again.

use super::peers::Peer;
use super::Bench;
use crate::table::{self, Table};
use crate::Result;

/// What one peer gave in all rounds, or why it gave nothing.
pub struct Entry<T> {
    /// The peer.
    pub peer: &'static Peer,
    /// A measurement for each round.
    pub outcome: Result<Vec<T>>,
}

impl<T> Entry<T> {
    /// What was measured; a line in the table that says why, if nothing was.
    pub fn measured(&self, table: &mut Table) -> Option<&[T]> {
        match &self.outcome {
            Ok(measured) => Some(measured),
            Err(why) => {
                table.absent(self.peer.name, why);
                None
            }
        }
    }

    /// The middle of a value over all rounds. Zero without one.
    pub fn middle(&self, value: impl Fn(&T) -> f64) -> f64 {
        table::median(self.outcome.iter().flatten().map(value))
    }
}

/// Measures all these peers as often as asked for. One that fails once is out.
pub fn alternate<T>(
    bench: &Bench,
    title: &str,
    peers: impl Iterator<Item = &'static Peer>,
    measure: impl Fn(&'static Peer) -> Result<T>,
) -> Vec<Entry<T>> {
    let mut entries: Vec<Entry<T>> = peers.map(|peer| Entry { peer, outcome: Ok(Vec::new()) }).collect();
    let rounds = bench.options.rounds;
    for round in 0..rounds {
        // Nobody always goes first.
        let first = round % entries.len().max(1);
        entries.rotate_left(first);
        for entry in &mut entries {
            let Ok(measured) = &mut entry.outcome else { continue };
            eprintln!("{title}: round {} of {rounds}, {}", round + 1, entry.peer.name);
            match measure(entry.peer) {
                Ok(value) => measured.push(value),
                Err(why) => entry.outcome = Err(why),
            }
        }
        entries.rotate_right(first);
    }
    entries
}
