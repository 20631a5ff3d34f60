//! The process that serves, as seen by the application loader in it.

use std::path::PathBuf;

#[cfg(all(unix, feature = "reload"))]
use amboss_reload::{ControlMessage, ControlSender};

/// A handle to this process as a worker, and to its supervisor. Without a supervisor, the methods that send a request
/// to it have no effect.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    #[cfg(all(unix, feature = "reload"))]
    supervisor: Option<SupervisorLink>,
    server_fd: Option<i32>,
}

#[cfg(all(unix, feature = "reload"))]
#[derive(Clone, Debug)]
struct SupervisorLink {
    /// `None` if the supervisor assumes that this process does not support the control protocol.
    sender: Option<ControlSender>,
    is_reloading: bool,
}

impl Worker {
    /// Makes the handle of a process that a supervisor has started.
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

    /// Whether the supervisor watches files and replaces this process when one of them changes.
    pub fn is_reloading(&self) -> bool {
        #[cfg(all(unix, feature = "reload"))]
        return self.supervisor.as_ref().is_some_and(|supervisor| supervisor.is_reloading);
        #[cfg(not(all(unix, feature = "reload")))]
        false
    }

    /// Returns the descriptor of the first listening socket that the supervisor has passed on. It is valid while this
    /// process listens. `None` without a supervisor.
    pub fn server_fd(&self) -> Option<i32> {
        self.server_fd
    }

    /// Asks the supervisor to watch these files, too: the files of which the application consists. Files that do not
    /// exist yet or can't be read are allowed. If the process ends right after this call, the supervisor starts it
    /// again when one of the files changes.
    pub fn report_files(&self, files: &[PathBuf]) {
        #[cfg(all(unix, feature = "reload"))]
        if self.is_reloading() {
            let absolute = files.iter().filter_map(|file| std::path::absolute(file).ok());
            ControlMessage::files(absolute).for_each(|message| self.send(&message));
        }
        let _ = files;
    }

    /// Asks the supervisor to replace this process. The process serves until its successor is ready; then it finishes
    /// its running requests, and its connections continue in the successor. Further calls have no effect.
    pub fn request_replacement(&self) {
        #[cfg(all(unix, feature = "reload"))]
        self.send(&ControlMessage::ReplaceMe);
    }

    /// Tells the supervisor that this process is about to stop, for example because of a signal that was sent to it
    /// alone, and that another process has to take its place. Without this call, a server that stops without an order
    /// of the supervisor makes the supervisor stop all processes.
    pub fn announce_exit(&self) {
        #[cfg(all(unix, feature = "reload"))]
        self.send(&ControlMessage::Leaving);
    }

    #[cfg(all(unix, feature = "reload"))]
    fn send(&self, message: &ControlMessage) {
        if let Some(sender) = self.supervisor.as_ref().and_then(|supervisor| supervisor.sender.as_ref()) {
            // An error means that the supervisor has ended.
            let _ = sender.send(message);
        }
    }
}
