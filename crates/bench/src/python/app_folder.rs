//! The temporary folder with the applications, which is the working directory of the servers.

use crate::result::Result;
use std::path::{Path, PathBuf};

const FILES: &[(&str, &str)] = &[
    ("raw.py", include_str!("applications/raw.py")),
    ("flasked.py", include_str!("applications/flasked.py")),
    ("computing.py", include_str!("applications/computing.py")),
    ("shared.py", include_str!("applications/shared.py")),
    ("launch.py", include_str!("applications/launch.py")),
];

/// A temporary folder with the applications and a log. Dropping it removes the folder.
pub struct AppFolder(PathBuf);

impl AppFolder {
    /// Creates the folder and writes the applications.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn create() -> Result<AppFolder> {
        let folder = AppFolder(std::env::temp_dir().join(format!("amboss-bench-python-{}", std::process::id())));
        let write = || {
            std::fs::create_dir_all(folder.path())?;
            FILES.iter().try_for_each(|(name, text)| std::fs::write(folder.path().join(name), text))
        };
        write().map_err(|error| format!("can't write to {}: {error}", folder.path().display()))?;
        Ok(folder)
    }

    /// The folder with the applications.
    pub fn path(&self) -> PathBuf {
        self.0.join("applications")
    }

    /// The file for the standard error of a server. It is outside the folder that reloaders watch.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for AppFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The last lines of a log, for a message about a server that failed.
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(2)..].join(" / ")
}
