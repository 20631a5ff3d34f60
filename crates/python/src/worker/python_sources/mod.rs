//! What the package knows about Python sources, for the library's reloader.

mod bytecode;
mod traceback;

use std::path::{Path, PathBuf};

/// Tells the reloader about Python sources.
pub(crate) struct PythonSources;

impl amboss::SourceKnowledge for PythonSources {
    fn watch_until_reported(&self) -> &str {
        "**/*.py"
    }

    fn file_changed(&self, path: &Path) {
        bytecode::delete_compiled(path);
    }

    fn files_in_output(&self, output: &[u8], working_directory: &Path) -> Vec<PathBuf> {
        traceback::named_files(output, working_directory)
    }
}
