//! Which program serves: the real one, or the error page in its place.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use amboss_reload::{Program, SupervisorHandle};

use super::options::OnLoadFailure;
use super::variables;

/// Which program serves, and what happens when the newest code does not run.
pub(super) struct FallbackState {
    on_load_failure: OnLoadFailure,
    error_page: Program,
    /// Whether the program serves.
    serving: AtomicBool,
    /// Whether the program was started, and it is not known yet whether it stays up. A program that does not report when it
    /// is ready may serve already.
    starting: AtomicBool,
}

impl FallbackState {
    pub(super) fn new(on_load_failure: OnLoadFailure, error_page: Program) -> FallbackState {
        FallbackState { on_load_failure, error_page, serving: AtomicBool::new(false), starting: AtomicBool::new(false) }
    }

    /// Replaces the workers with the newest form of the program.
    pub(super) fn restart(&self, handle: &SupervisorHandle, program: &Program) {
        handle.replace(Some(program.clone()));
    }

    /// Notes that a worker was started: the program, or the error page.
    pub(super) fn note_started(&self, is_error_page: bool) {
        self.starting.store(!is_error_page, Ordering::SeqCst);
    }

    /// Notes that the worker which was started serves.
    pub(super) fn note_ready(&self, is_error_page: bool) {
        self.starting.store(false, Ordering::SeqCst);
        self.serving.store(!is_error_page, Ordering::SeqCst);
    }

    /// Notes that a start has failed.
    pub(super) fn note_failed(&self) {
        self.starting.store(false, Ordering::SeqCst);
    }

    /// Notes whether the program serves.
    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::SeqCst);
    }

    /// Does what the options say when the newest code does not run: because it can't be built, or because this generation
    /// of it has failed. Returns in a few words what it does.
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
        // Deleted when the supervisor ends, and replaced for the next error page.
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

/// The file in which the process of the error page finds the output.
fn output_file() -> PathBuf {
    std::env::temp_dir().join(format!("amboss-{}-error", std::process::id()))
}

/// Writes a new file that only this user can read.
fn write_private(path: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}
