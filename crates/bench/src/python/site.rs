//! The applications, in a temporary folder of their own that the servers are started in.

use crate::Result;
use std::path::{Path, PathBuf};

const FILES: &[(&str, &str)] = &[
    ("raw.py", include_str!("applications/raw.py")),
    ("flasked.py", include_str!("applications/flasked.py")),
    ("launch.py", include_str!("applications/launch.py")),
];

/// Two temporary folders. Dropping it removes them.
pub struct Site(PathBuf);

impl Site {
    /// Writes the applications.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub fn new() -> Result<Site> {
        let site = Site(std::env::temp_dir().join(format!("amboss-bench-python-{}", std::process::id())));
        let write = || {
            std::fs::create_dir_all(site.folder())?;
            FILES.iter().try_for_each(|(name, text)| std::fs::write(site.folder().join(name), text))
        };
        write().map_err(|error| format!("cannot write to {}: {error}", site.folder().display()))?;
        Ok(site)
    }

    /// Where the applications are.
    pub fn folder(&self) -> PathBuf {
        self.0.join("applications")
    }

    /// What a server says goes here, which is not where reloaders watch.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The last lines of a log, for a sentence about why a server failed.
pub fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(2)..].join(" / ")
}
