//! The choice between the program and the error page, which serves in its place when the newest code can't be loaded.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use amboss_reload::{Program, SupervisorHandle};

use super::variables;
use crate::reload_options::OnLoadFailure;

/// The record of which program serves, and the reaction to code that can't be loaded.
pub(super) struct FallbackState {
    on_load_failure: OnLoadFailure,
    error_page: Program,
    /// Whether a worker of the program serves.
    serving: AtomicBool,
    /// Whether the program has been started and is not known to be ready. A program that does not report readiness may
    /// serve already.
    starting: AtomicBool,
}

impl FallbackState {
    pub(super) fn new(on_load_failure: OnLoadFailure, error_page: Program) -> FallbackState {
        FallbackState { on_load_failure, error_page, serving: AtomicBool::new(false), starting: AtomicBool::new(false) }
    }

    /// Replaces the workers with new ones of this program.
    pub(super) fn restart(&self, handle: &SupervisorHandle, program: &Program) {
        handle.replace(Some(program.clone()));
    }

    /// Notes that a worker was started: one of the program, or the error page.
    pub(super) fn note_started(&self, is_error_page: bool) {
        self.starting.store(!is_error_page, Ordering::SeqCst);
    }

    /// Notes that the started worker serves.
    pub(super) fn note_ready(&self, is_error_page: bool) {
        self.starting.store(false, Ordering::SeqCst);
        self.serving.store(!is_error_page, Ordering::SeqCst);
    }

    /// Notes that a start has failed.
    pub(super) fn note_failed(&self) {
        self.starting.store(false, Ordering::SeqCst);
    }

    /// Sets whether a worker of the program serves.
    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::SeqCst);
    }

    /// Reacts to code that can't be built, or whose workers of this generation have failed, as the options say. Returns
    /// a description of the reaction, for the log.
    pub(super) fn load_failed(
        &self,
        handle: &SupervisorHandle,
        output: &[u8],
        generation: Option<u64>,
    ) -> &'static str {
        let serving = self.serving.load(Ordering::SeqCst) || self.starting.load(Ordering::SeqCst);
        if self.on_load_failure == OnLoadFailure::KeepServing && serving {
            return "the old code keeps serving";
        }
        if let Err(error) = self.show_error_page(handle, output, generation) {
            say!(" * The error page can't be served: {error}");
        }
        "requests get a page that shows why"
    }

    fn show_error_page(
        &self,
        handle: &SupervisorHandle,
        output: &[u8],
        generation: Option<u64>,
    ) -> std::io::Result<()> {
        // The file is replaced for the next error page, and deleted when the supervisor ends.
        let path = output_file();
        write_private(&path, output)?;
        let mut page = self.error_page.clone();
        page.env.push((variables::ERROR_PAGE.into(), path.into_os_string()));
        self.serving.store(false, Ordering::SeqCst);
        handle.run_fallback(page, generation);
        Ok(())
    }
}

impl Drop for FallbackState {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(output_file());
    }
}

/// Returns the path of the file through which the error page receives the output.
fn output_file() -> PathBuf {
    std::env::temp_dir().join(format!("amboss-{}-error", std::process::id()))
}

/// Writes a new file that only this user can read, in place of an existing one.
fn write_private(path: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}
