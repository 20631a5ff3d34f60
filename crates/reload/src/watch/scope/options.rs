//! The settings of a scope.

use std::ffi::OsString;
use std::path::PathBuf;

/// The settings of a [`Scope`](crate::Scope). Relative paths are resolved against the current folder.
///
/// ```
/// use amboss_reload::ScopeOptions;
/// let mut options = ScopeOptions::default();
/// options.roots.push(".".into());
/// options.suffixes = vec![".py".into(), ".toml".into()];
/// options.exclude_patterns.push("*/static/*".into());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScopeOptions {
    /// Files, and folders that are watched with everything below them. Version control and caches, build outputs and
    /// installed packages are never entered: `__pycache__`, `.git`, `.hg`, `.tox`, `.nox`, `.pytest_cache`,
    /// `.mypy_cache`, `target`, `node_modules` and `.venv`.
    pub roots: Vec<PathBuf>,
    /// More files, folders and globs. In a glob, `*` and `?` do not match `/`, `**` does, and no wildcard matches a
    /// folder that is never entered. A file listed here counts even if git ignores it. For a folder, the `.gitignore`
    /// files inside it apply, those above it do not.
    pub extra_files: Vec<PathBuf>,
    /// Like `extra_files`, but without globs, and the files need not exist yet: a module whose import failed, a lock
    /// file.
    pub optional_files: Vec<PathBuf>,
    /// Patterns of paths that never count. As in Werkzeug, they follow Python's `fnmatch` and are matched against the
    /// whole absolute path, and `*` also matches `/`: `*.log` is every log file, `*/static/*` everything in a folder
    /// `static`.
    pub exclude_patterns: Vec<String>,
    /// More folders that are never entered, such as a build folder with a custom name.
    pub ignored_folders: Vec<PathBuf>,
    /// If not empty, a file in a watched folder counts only if its name ends with one of these (".py").
    pub suffixes: Vec<OsString>,
    /// Whether `.gitignore` files apply (true).
    pub gitignore: bool,
}

impl Default for ScopeOptions {
    fn default() -> ScopeOptions {
        ScopeOptions {
            roots: Vec::new(),
            extra_files: Vec::new(),
            optional_files: Vec::new(),
            exclude_patterns: Vec::new(),
            ignored_folders: Vec::new(),
            suffixes: Vec::new(),
            gitignore: true,
        }
    }
}
