//! Measuring in rounds: each round measures every peer once.

use super::bench::Bench;
use super::peers::{Peer, SUBJECT};
use crate::result::Result;
use crate::table::{self, Spread, Table};

/// The measurements of one peer in all rounds, or why it could not be measured.
pub struct Entry<T> {
    /// The peer.
    pub peer: &'static Peer,
    /// A measurement for each round.
    pub outcome: Result<Vec<T>>,
}

impl<T> Entry<T> {
    /// Returns the measurements. If there are none, adds a row to the table that says why.
    pub fn measured(&self, table: &mut Table) -> Option<&[T]> {
        match &self.outcome {
            Ok(measured) => Some(measured),
            Err(reason) => {
                table.missing_row(self.peer.name, reason);
                None
            }
        }
    }

    /// A value of each round.
    pub fn values(&self, value: impl Fn(&T) -> f64) -> Vec<f64> {
        self.outcome.iter().flatten().map(value).collect()
    }

    /// The median of a value over all rounds. Zero without rounds.
    pub fn median(&self, value: impl Fn(&T) -> f64) -> f64 {
        table::median(self.values(value))
    }
}

/// The entry of the subject, if it was measured.
pub fn subject<T>(entries: &[Entry<T>]) -> Option<&Entry<T>> {
    entries.iter().find(|entry| entry.peer.name == SUBJECT && entry.outcome.is_ok())
}

/// The cell with the ratio of a value to that of another entry, if there is one.
pub fn ratio_to<T>(other: Option<&Entry<T>>, entry: &Entry<T>, value: impl Fn(&T) -> f64) -> String {
    table::ratio_cell(other.and_then(|other| Spread::of_ratios(&entry.values(&value), &other.values(&value))))
}

/// Measures all peers in as many rounds as the options say. A peer that fails is not measured again.
pub fn measure_in_rounds<T>(
    bench: &Bench,
    title: &str,
    peers: impl Iterator<Item = &'static Peer>,
    measure: impl Fn(&'static Peer) -> Result<T>,
) -> Vec<Entry<T>> {
    let mut entries: Vec<Entry<T>> = peers.map(|peer| Entry { peer, outcome: Ok(Vec::new()) }).collect();
    let rounds = bench.options.rounds;
    for round in 0..rounds {
        // Each round begins with another peer.
        let first = round % entries.len().max(1);
        entries.rotate_left(first);
        for entry in &mut entries {
            let Ok(measured) = &mut entry.outcome else { continue };
            eprintln!("{title}: round {} of {rounds}, {}", round + 1, entry.peer.name);
            match measure(entry.peer) {
                Ok(value) => measured.push(value),
                Err(reason) => entry.outcome = Err(reason),
            }
        }
        entries.rotate_right(first);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::peers::PEERS;

    #[test]
    fn ratios_to_the_subject_have_a_spread() {
        let peer = |name: &str| PEERS.iter().find(|peer| peer.name == name).expect("known");
        let subject = Entry { peer: peer(SUBJECT), outcome: Ok(vec![100.0, 100.0, 50.0]) };
        let other = Entry { peer: peer("amboss"), outcome: Ok(vec![200.0, 150.0, 200.0]) };
        let failed = Entry { peer: peer(SUBJECT), outcome: Err("is not installed".into()) };
        let entries = [subject, other];
        assert_eq!(ratio_to(super::subject(&entries), &entries[1], |&value| value), "2.00 (1.50 to 4.00)");
        let [_, other] = entries;
        let entries = [failed, other];
        assert_eq!(ratio_to(super::subject(&entries), &entries[1], |&value| value), "–");
    }
}
