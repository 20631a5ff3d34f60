//! A process that serves, as the applications and loaders in it see it.

use std::path::PathBuf;

#[cfg(all(unix, feature = "reload"))]
use amboss_reload::{ControlMessage, ControlSender};

/// The process that serves, and its supervisor, if it has one. Without a supervisor, its methods have no effect.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    #[cfg(all(unix, feature = "reload"))]
    supervisor: Option<SupervisorLink>,
    server_fd: Option<i32>,
}

#[cfg(all(unix, feature = "reload"))]
#[derive(Clone, Debug)]
struct SupervisorLink {
    /// `None` when the supervisor takes this process for one that does not know the control protocol.
    sender: Option<ControlSender>,
    is_reloading: bool,
}

impl Worker {
    /// A process that a supervisor has started.
    #[cfg(all(unix, feature = "reload"))]
    pub(crate) fn supervised(sender: Option<ControlSender>, is_reloading: bool, server_fd: Option<i32>) -> Worker {
        Worker { supervisor: Some(SupervisorLink { sender, is_reloading }), server_fd }
    }

    /// Whether a supervisor has started this process.
    pub fn is_supervised(&self) -> bool {
        #[cfg(all(unix, feature = "reload"))]
        return self.supervisor.is_some();
        #[cfg(not(all(unix, feature = "reload")))]
        false
    }

    /// Whether the supervisor watches files, and replaces this process when one of them changes.
    pub fn is_reloading(&self) -> bool {
        #[cfg(all(unix, feature = "reload"))]
        return self.supervisor.as_ref().is_some_and(|supervisor| supervisor.is_reloading);
        #[cfg(not(all(unix, feature = "reload")))]
        false
    }

    /// The number of the first listening socket that the supervisor has passed on, while this process listens. `None`
    /// without a supervisor.
    pub fn server_fd(&self) -> Option<i32> {
        self.server_fd
    }

    /// Asks the supervisor to watch these files as well: those of which the application consists. They may also be files
    /// that do not exist yet, or could not be read. The process may end right after this call, and is started again when
    /// they change.
    pub fn report_files(&self, files: &[PathBuf]) {
        #[cfg(all(unix, feature = "reload"))]
        if self.is_reloading() {
            let absolute = files.iter().filter_map(|file| std::path::absolute(file).ok());
            ControlMessage::files(absolute).for_each(|message| self.send(&message));
        }
        let _ = files;
    }

    /// Asks the supervisor for a successor. When that is ready, this process finishes its running requests, and its
    /// connections go on in the successor. Until then it serves. Further calls have no effect.
    pub fn request_replacement(&self) {
        #[cfg(all(unix, feature = "reload"))]
        self.send(&ControlMessage::ReplaceMe);
    }

    /// Tells the supervisor that this process is about to stop, because of a signal that was sent to it alone for example, and
    /// that another one has to take its place. Without this call, a process whose server stops, unless the supervisor has told
    /// it to, ends all of them.
    pub fn announce_exit(&self) {
        #[cfg(all(unix, feature = "reload"))]
        self.send(&ControlMessage::Leaving);
    }

    #[cfg(all(unix, feature = "reload"))]
    fn send(&self, message: &ControlMessage) {
        if let Some(sender) = self.supervisor.as_ref().and_then(|supervisor| supervisor.sender.as_ref()) {
            // A supervisor that is gone needs to know nothing.
            let _ = sender.send(message);
        }
    }
}
