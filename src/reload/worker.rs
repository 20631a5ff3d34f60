//! What a child tells its supervisor of its own accord.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use amboss_reload::control::{Message, Sender};

/// The way to the supervisor.
#[derive(Clone, Debug)]
pub(crate) struct ToSupervisor {
    /// `None` when it takes this process for one that says nothing.
    sender: Option<Sender>,
    reloading: bool,
    /// This process stops by itself, and another takes its place.
    leaves: Arc<AtomicBool>,
}

impl ToSupervisor {
    pub(super) fn new(sender: Option<Sender>, reloading: bool) -> ToSupervisor {
        ToSupervisor { sender, reloading, leaves: Arc::default() }
    }

    pub(crate) fn is_reloading(&self) -> bool {
        self.reloading
    }

    pub(crate) fn report_files(&self, files: &[PathBuf]) {
        let Some(sender) = self.sender.as_ref().filter(|_| self.reloading) else { return };
        let absolute = files.iter().filter_map(|file| std::path::absolute(file).ok());
        for message in Message::files(absolute) {
            // Whoever is not there any more needs to know nothing.
            let _ = sender.send(&message);
        }
    }

    pub(crate) fn ask_to_be_replaced(&self) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(&Message::ReplaceMe);
        }
    }

    pub(crate) fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
        self.ask_to_be_replaced();
    }

    pub(crate) fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }
}
