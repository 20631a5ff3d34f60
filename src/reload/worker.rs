//! What a child tells its supervisor of its own accord.

use std::path::PathBuf;

use amboss_reload::{ControlMessage, ControlSender};

/// The way to the supervisor.
#[derive(Clone, Debug)]
pub(crate) struct ToSupervisor {
    /// `None` when it takes this process for one that says nothing.
    sender: Option<ControlSender>,
    reloading: bool,
}

impl ToSupervisor {
    pub(super) fn new(sender: Option<ControlSender>, reloading: bool) -> ToSupervisor {
        ToSupervisor { sender, reloading }
    }

    pub(crate) fn is_reloading(&self) -> bool {
        self.reloading
    }

    pub(crate) fn report_files(&self, files: &[PathBuf]) {
        if self.reloading {
            let absolute = files.iter().filter_map(|file| std::path::absolute(file).ok());
            ControlMessage::files(absolute).for_each(|message| self.say(&message));
        }
    }

    pub(crate) fn ask_to_be_replaced(&self) {
        self.say(&ControlMessage::ReplaceMe);
    }

    pub(crate) fn leave(&self) {
        self.say(&ControlMessage::Leaving);
    }

    fn say(&self, message: &ControlMessage) {
        if let Some(sender) = &self.sender {
            // Whoever is not there any more needs to know nothing.
            let _ = sender.send(message);
        }
    }
}
