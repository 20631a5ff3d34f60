//! Which files belong to a project.
//!
//! A [`Scope`] lists the *watch roots*, where a scan starts, and decides which files below them count. The rules, the
//! strongest first:
//!
//! 1. A path that matches an exclude pattern never counts.
//! 2. A file that is named in the options, by its path or by a glob, counts whatever git, suffixes or editor
//!    conventions say. More files can be named while the watch runs ([`Scope::add_file`]).
//! 3. In a folder that is a root everything counts except the folders in [`ALWAYS_IGNORED`], what `.gitignore` files
//!    ignore, temporary files of editors, and, if suffixes are given, files with other suffixes.
//!
//! Of git's rules only `.gitignore` files apply: nested ones, and for roots also those above, up to the top of the work
//! tree. `.git/info/exclude`, global excludes and `.ignore` files do not apply. Symbolic links are followed.
//!
//! [`ALWAYS_IGNORED`]: ignore_rules::ALWAYS_IGNORED

mod error;
mod filter;
mod fnmatch;
mod ignore_rules;
mod options;
mod roots;

pub use error::{ScopeError, ScopeErrorKind};
pub(crate) use filter::{FileRole, FolderFilter};
pub use options::ScopeOptions;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fnmatch::fnmatch;
use ignore_rules::{is_always_ignored, is_editor_temp, IgnoreRules};
use roots::{is_glob, normalize, ExtraGlob, WatchRoot};

/// The set of files to watch; see [`ScopeOptions`].
#[derive(Debug)]
pub struct Scope {
    roots: Vec<WatchRoot>,
    /// For each folder with files that were added later, the index of its root. There may be thousands of added files
    /// in hundreds of folders, so each folder is one root.
    added: HashMap<PathBuf, usize>,
    /// The index of a glob's root that is removed when the first file is added.
    provisional: Option<usize>,
    globs: Vec<ExtraGlob>,
    exclude_patterns: Vec<String>,
    ignored_folders: Vec<PathBuf>,
    suffixes: Vec<OsString>,
    gitignore: bool,
}

impl Scope {
    /// Creates a scope from its options.
    ///
    /// # Errors
    /// A root, an extra file or the folder of a glob does not exist, or a glob cannot be parsed.
    pub fn new(options: ScopeOptions) -> Result<Scope, ScopeError> {
        let mut scope = Scope {
            roots: Vec::new(),
            added: HashMap::new(),
            provisional: None,
            globs: Vec::new(),
            exclude_patterns: options.exclude_patterns,
            ignored_folders: options.ignored_folders.iter().map(|folder| normalize(folder)).collect(),
            suffixes: options.suffixes,
            gitignore: options.gitignore,
        };
        for root in &options.roots {
            if !root.exists() {
                return Err(ScopeError::missing(root, "the folder to watch"));
            }
            scope.roots.push(WatchRoot::new(root, true));
        }
        for extra in &options.extra_files {
            if extra.exists() {
                scope.roots.push(WatchRoot::new(extra, false));
            } else if is_glob(extra.as_os_str()) {
                scope.add_glob(extra)?;
            } else {
                return Err(ScopeError::missing(extra, "the extra file"));
            }
        }
        scope.roots.extend(options.optional_files.iter().map(|optional| WatchRoot::new(optional, false)));
        Ok(scope)
    }

    fn add_glob(&mut self, pattern: &Path) -> Result<(), ScopeError> {
        let glob = ExtraGlob::parse(pattern)?;
        self.roots.push(WatchRoot::Glob { base: glob.base.clone(), index: self.globs.len() });
        self.globs.push(glob);
        Ok(())
    }

    /// The folders where a scan starts, in the order of their indices.
    pub(crate) fn root_folders(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(WatchRoot::folder)
    }

    /// The filter of a root's folder. Reads the `.gitignore` files above it.
    pub(crate) fn root_filter(&self, root: usize) -> FolderFilter {
        match &self.roots[root] {
            WatchRoot::Folder { path, gitignore_above } => {
                let applies = *gitignore_above && self.gitignore;
                let rules = if applies { IgnoreRules::above(path) } else { IgnoreRules::none() };
                FolderFilter { ignore_rules: Some(rules), ..FolderFilter::default() }
            }
            WatchRoot::Files { names, .. } => FolderFilter { names: names.clone(), ..FolderFilter::default() },
            WatchRoot::Glob { index, .. } => {
                FolderFilter { globs: BTreeSet::from([*index]), ..FolderFilter::default() }
            }
        }
    }

    /// Adds the folder's own `.gitignore` to the filter that its parent passes to it.
    pub(crate) fn enter_folder(&self, folder: &Path, mut filter: FolderFilter) -> FolderFilter {
        if self.gitignore {
            filter.ignore_rules = filter.ignore_rules.map(|rules| rules.within(folder));
        }
        filter
    }

    /// How a file counts in a folder with this filter; `None` if it does not count.
    pub(crate) fn file_role(&self, path: &Path, filter: &FolderFilter) -> Option<FileRole> {
        let name = path.file_name()?;
        if self.is_excluded(path) {
            return None;
        }
        if filter.names.contains(name) || filter.globs.iter().any(|&index| self.globs[index].matches(path)) {
            return Some(FileRole::Reported);
        }
        let rules = filter.ignore_rules.as_ref()?;
        if !is_editor_temp(name) && !rules.ignore(path, false) && self.has_suffix(name) {
            return Some(FileRole::Reported);
        }
        self.is_ignore_file(path).then_some(FileRole::RulesOnly)
    }

    /// The filter that a folder with the filter `filter` passes to its subfolder `path`; `None` if nothing in the
    /// subfolder counts.
    pub(crate) fn subfolder_filter(&self, path: &Path, filter: &FolderFilter) -> Option<FolderFilter> {
        let name = path.file_name()?;
        if is_always_ignored(name) || self.is_never_entered(path) {
            return None;
        }
        let ignore_rules = filter.ignore_rules.as_ref().filter(|rules| !rules.ignore(path, true)).cloned();
        let globs = filter.globs.iter().copied().filter(|&index| self.globs[index].may_match_below(path)).collect();
        let filter = FolderFilter { ignore_rules, names: BTreeSet::new(), globs };
        filter.is_recursive().then_some(filter)
    }

    /// Whether a file decides which other files count.
    pub(crate) fn is_ignore_file(&self, path: &Path) -> bool {
        self.gitignore && path.file_name().is_some_and(|name| name == ".gitignore")
    }

    fn has_suffix(&self, name: &OsStr) -> bool {
        let matches = |suffix: &OsString| name.as_bytes().ends_with(suffix.as_bytes());
        self.suffixes.is_empty() || self.suffixes.iter().any(matches)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        if self.exclude_patterns.is_empty() {
            return false;
        }
        let path = path.to_string_lossy();
        self.exclude_patterns.iter().any(|pattern| fnmatch(pattern, &path))
    }

    /// Whether nothing below the folder can count. A pattern that ends with a star and matches the folder's path
    /// followed by a slash matches everything below it.
    fn is_never_entered(&self, folder: &Path) -> bool {
        if self.ignored_folders.iter().any(|ignored| ignored == folder) {
            return true;
        }
        if self.exclude_patterns.is_empty() {
            return false;
        }
        let path = format!("{}/", folder.to_string_lossy());
        self.exclude_patterns.iter().any(|pattern| pattern.ends_with('*') && fnmatch(pattern, &path))
    }
}

/// Files and globs that are added while the watch runs.
impl Scope {
    /// Adds a file. Returns the index of its root and its normalized path, unless it was added before.
    pub(crate) fn add_file(&mut self, file: &Path) -> Option<(usize, PathBuf)> {
        let (folder, name) = (normalize(file.parent()?), file.file_name()?);
        let path = folder.join(name);
        let index = match self.added.get(&folder) {
            Some(&index) => index,
            None => {
                self.roots.push(WatchRoot::file(&folder, name));
                self.added.insert(folder, self.roots.len() - 1);
                return Some((self.roots.len() - 1, path));
            }
        };
        let WatchRoot::Files { names, .. } = &mut self.roots[index] else { return None };
        names.insert(name.into()).then_some((index, path))
    }

    /// Whether a root consists of added files.
    pub(crate) fn is_added_root(&self, root: usize) -> bool {
        self.added.get(self.roots[root].folder()) == Some(&root)
    }

    /// Adds a glob whose matches count until the first file is added. Returns whether it was added: once files were
    /// added, or with a provisional glob already in place, it is not.
    pub(crate) fn add_provisional_glob(&mut self, glob: &Path) -> Result<bool, ScopeError> {
        if !self.added.is_empty() || self.provisional.is_some() {
            return Ok(false);
        }
        self.add_glob(glob)?;
        self.provisional = Some(self.roots.len() - 1);
        Ok(true)
    }

    pub(crate) fn has_provisional_glob(&self) -> bool {
        self.provisional.is_some()
    }

    /// Removes the provisional glob. No file has been added yet, so its root is the last and no index changes.
    pub(crate) fn remove_provisional_glob(&mut self) {
        if let Some(root) = self.provisional.take() {
            self.roots.truncate(root);
            self.globs.pop();
        }
    }
}
