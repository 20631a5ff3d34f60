//! A log that tests can look into.

use std::sync::Mutex;

use amboss_core::{AccessRecord, Log};
use amboss_testkit::{poll_until, DEADLINE};

/// A log that keeps its entries: request line, status and bytes of each request, its client and the other end of its
/// connection, and the text of each error.
#[derive(Default)]
pub struct RecordingLog {
    pub access: Mutex<Vec<(String, u16, u64)>>,
    pub peers: Mutex<Vec<(String, String)>>,
    pub errors: Mutex<Vec<String>>,
}

impl RecordingLog {
    /// Returns all error entries, joined by line feeds.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().join("\n")
    }

    /// Waits until an error entry contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let poll = || self.errors().contains(text).then_some(());
        poll_until(DEADLINE, poll, || format!("waiting for {text:?} in the log:\n{}", self.errors()));
    }
}

impl Log for RecordingLog {
    fn access(&self, record: &AccessRecord<'_>) {
        let line = record.request_line.escape_ascii().to_string();
        let peers = (record.peer.to_string(), record.connection_peer.to_string());
        self.peers.lock().unwrap().push(peers);
        self.access.lock().unwrap().push((line, record.status, record.bytes));
    }

    fn error(&self, message: &str) {
        self.errors.lock().unwrap().push(message.to_owned());
    }
}
