//! What belongs to the watch.
//!
//! A [`Scope`] starts from *anchors*, the folders and files that somebody named, and answers for everything below them
//! whether it counts. In the order of their strength:
//!
//! 1. A path that an exclude pattern matches never counts.
//! 2. A file that was named, itself or by a glob, counts: whatever git, suffixes or editors' habits say. Files can be
//!    named later, too, in any folder (`added`).
//! 3. In a folder that was named everything counts, except the folders of [`ALWAYS_IGNORED`], what `.gitignore` files
//!    ignore, what editors drop, and, if suffixes are given, files that end differently.
//!
//! Of git's rules the `.gitignore` files count, nested ones included, and for roots those above, up to the top of the
//! work tree; `.git/info/exclude`, global excludes and `.ignore` files don't. Symbolic links are followed.

mod added;
mod fnmatch;
mod rules;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use fnmatch::fnmatch;
pub use rules::ALWAYS_IGNORED;
use rules::{always_ignored, dropping, Rules};

/// What a scope is made from. Relative paths count from the current folder.
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
    /// Folders, watched with everything below them, and files.
    pub roots: Vec<PathBuf>,
    /// Also watched: files, folders, and globs, in which `*` and `?` stop at a `/`, `**` doesn't, and no wildcard stands
    /// for a folder of [`ALWAYS_IGNORED`]. A file named here counts even if git ignores it; of a folder's
    /// `.gitignore` files those inside it count, not those above.
    pub extra_files: Vec<PathBuf>,
    /// As `extra_files`, but they need not be there yet, and are not globs: a module whose import failed, a lock file.
    pub optional_files: Vec<PathBuf>,
    /// Paths that never count. The patterns are Werkzeug's, thus Python's `fnmatch`, matched against the whole absolute
    /// path, where `*` also matches `/`: `*.log` is every log file, `*/static/*` everything in a folder `static`.
    pub exclude_patterns: Vec<String>,
    /// Folders never looked into, besides [`ALWAYS_IGNORED`]: a build folder with a name of its own.
    pub ignored_folders: Vec<PathBuf>,
    /// If not empty, only files whose names end with one of these count in folders (".py").
    pub suffixes: Vec<OsString>,
    /// Whether `.gitignore` files count; on.
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

/// What is watched; see [`ScopeOptions`].
#[derive(Debug)]
pub struct Scope {
    anchors: Vec<Anchor>,
    /// The anchor of each folder with files that were added later.
    added: HashMap<PathBuf, usize>,
    /// An anchor that goes when the first file is added.
    provisional: Option<usize>,
    globs: Vec<Glob>,
    exclude_patterns: Vec<String>,
    ignored_folders: Vec<PathBuf>,
    suffixes: Vec<OsString>,
    gitignore: bool,
}

/// Where a watch begins.
#[derive(Debug)]
enum Anchor {
    /// A folder with everything in it; whether the `.gitignore` files above it count.
    Folder { path: PathBuf, above: bool },
    /// Single files of a folder.
    Files { folder: PathBuf, names: BTreeSet<OsString> },
    /// What a glob matches, from its last folder without a wildcard on.
    Glob { base: PathBuf, index: usize },
}

#[derive(Debug)]
struct Glob {
    base: PathBuf,
    matcher: GlobMatcher,
    /// How many names deep below the base it can match; `None` for any depth.
    depth: Option<usize>,
}

/// Why a folder is watched: what in it counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    /// Everything that these rules don't ignore, and what is below.
    everything: Option<Arc<Rules>>,
    names: BTreeSet<OsString>,
    globs: BTreeSet<usize>,
}

/// How a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// A change of it is reported.
    Reported,
    /// It is looked at because it decides what else counts.
    Silent,
}

impl Interest {
    /// Takes over what another one wants; whether that was anything new.
    pub(crate) fn merge(&mut self, other: Interest) -> bool {
        let before = (self.everything.is_some(), self.names.len(), self.globs.len());
        if self.everything.is_none() {
            self.everything = other.everything;
        }
        self.names.extend(other.names);
        self.globs.extend(other.globs);
        before != (self.everything.is_some(), self.names.len(), self.globs.len())
    }

    /// The files that were named.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.names.iter().map(OsString::as_os_str)
    }

    /// Whether more than the files that were named may count.
    pub(crate) fn is_deep(&self) -> bool {
        self.everything.is_some() || !self.globs.is_empty()
    }
}

impl Scope {
    /// Makes a scope of the options.
    ///
    /// # Errors
    /// A root, an extra file or an extra folder that isn't there, or a glob that can't be parsed.
    pub fn new(options: ScopeOptions) -> Result<Scope, ScopeError> {
        let mut scope = Scope {
            anchors: Vec::new(),
            added: HashMap::new(),
            provisional: None,
            globs: Vec::new(),
            exclude_patterns: options.exclude_patterns,
            ignored_folders: options.ignored_folders.iter().map(|folder| tidy(folder)).collect(),
            suffixes: options.suffixes,
            gitignore: options.gitignore,
        };
        for root in &options.roots {
            if !root.exists() {
                return Err(ScopeError::missing(root, "the folder to watch"));
            }
            scope.anchor(root, true);
        }
        for extra in &options.extra_files {
            if extra.exists() {
                scope.anchor(extra, false);
            } else if extra.as_os_str().as_bytes().iter().any(|byte| b"*?[{".contains(byte)) {
                scope.glob(extra)?;
            } else {
                return Err(ScopeError::missing(extra, "the extra file"));
            }
        }
        for optional in &options.optional_files {
            scope.anchor(optional, false);
        }
        Ok(scope)
    }

    fn anchor(&mut self, path: &Path, above: bool) {
        let path = tidy(path);
        self.anchors.push(match (path.is_dir(), path.parent(), path.file_name()) {
            (false, Some(folder), Some(name)) => Anchor::file(folder, name),
            _ => Anchor::Folder { path, above },
        });
    }

    fn glob(&mut self, pattern: &Path) -> Result<(), ScopeError> {
        let broken = |reason: &dyn fmt::Display| ScopeError {
            kind: ScopeErrorKind::Glob,
            path: pattern.into(),
            sentence: format!(
                "The pattern '{}' among the extra files can't be parsed ({reason}); mend it, or put brackets around a \
                 character that stands for itself, as in [*].",
                pattern.display()
            ),
        };
        let is_plain = |part: &Component<'_>| !part.as_os_str().as_bytes().iter().any(|byte| b"*?[{".contains(byte));
        let plain = pattern.components().take_while(is_plain);
        let base: PathBuf = plain.clone().collect();
        let wild: PathBuf = pattern.components().skip(plain.count()).collect();
        let text = wild.to_str().ok_or_else(|| broken(&"it is not UTF-8"))?;
        let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|error| broken(error.kind()))?;
        let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
        if !base.is_dir() {
            return Err(ScopeError::missing(&base, &format!("the folder of the pattern '{}'", pattern.display())));
        }
        let base = tidy(&base);
        // Braces may hold slashes, so that the number of names can't be counted.
        let depth = (!text.contains("**") && !text.contains('{')).then(|| wild.components().count());
        self.anchors.push(Anchor::Glob { base: base.clone(), index: self.globs.len() });
        self.globs.push(Glob { base, matcher: glob.compile_matcher(), depth });
        Ok(())
    }

    /// The folders where the watch begins.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &Path> {
        self.anchors.iter().map(Anchor::place)
    }

    /// What is wanted of the folder where the watch begins. Reads the `.gitignore` files above it.
    pub(crate) fn interest(&self, anchor: usize) -> Interest {
        match &self.anchors[anchor] {
            Anchor::Folder { path, above } => {
                let rules = if *above && self.gitignore { Rules::above(path) } else { Rules::none() };
                Interest { everything: Some(rules), ..Interest::default() }
            }
            Anchor::Files { names, .. } => Interest { names: names.clone(), ..Interest::default() },
            Anchor::Glob { index, .. } => Interest { globs: BTreeSet::from([*index]), ..Interest::default() },
        }
    }

    /// The interest for what is in a folder: the one with which it is reached, and its own `.gitignore`.
    pub(crate) fn enter(&self, folder: &Path, mut interest: Interest) -> Interest {
        if self.gitignore {
            interest.everything = interest.everything.map(|rules| rules.within(folder));
        }
        interest
    }

    /// Whether a file counts, in a folder of the given interest.
    pub(crate) fn file(&self, path: &Path, interest: &Interest) -> Option<Counts> {
        let name = path.file_name()?;
        if self.excluded(path) {
            return None;
        }
        if interest.names.contains(name) || interest.globs.iter().any(|&index| self.globs[index].matches(path)) {
            return Some(Counts::Reported);
        }
        let rules = interest.everything.as_ref()?;
        if !dropping(name) && !rules.ignore(path, false) && self.has_suffix(name) {
            return Some(Counts::Reported);
        }
        self.is_rules(path).then_some(Counts::Silent)
    }

    /// What is wanted of a folder in a folder of the given interest, if anything.
    pub(crate) fn folder(&self, path: &Path, interest: &Interest) -> Option<Interest> {
        let name = path.file_name()?;
        if always_ignored(name) || self.never_entered(path) {
            return None;
        }
        let everything = interest.everything.as_ref().filter(|rules| !rules.ignore(path, true)).cloned();
        let globs = interest.globs.iter().copied().filter(|&index| self.globs[index].reaches(path)).collect();
        let interest = Interest { everything, names: BTreeSet::new(), globs };
        interest.is_deep().then_some(interest)
    }

    /// Whether a file decides what else counts.
    pub(crate) fn is_rules(&self, path: &Path) -> bool {
        self.gitignore && path.file_name().is_some_and(|name| name == ".gitignore")
    }

    fn has_suffix(&self, name: &OsStr) -> bool {
        let ends = |suffix: &OsString| name.as_bytes().ends_with(suffix.as_bytes());
        self.suffixes.is_empty() || self.suffixes.iter().any(ends)
    }

    fn excluded(&self, path: &Path) -> bool {
        if self.exclude_patterns.is_empty() {
            return false;
        }
        let path = path.to_string_lossy();
        self.exclude_patterns.iter().any(|pattern| fnmatch(pattern, &path))
    }

    /// A pattern that ends with a star and matches a folder's path with a slash matches everything below it.
    fn never_entered(&self, folder: &Path) -> bool {
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

impl Anchor {
    fn file(folder: &Path, name: &OsStr) -> Anchor {
        Anchor::Files { folder: folder.into(), names: BTreeSet::from([name.into()]) }
    }

    /// The folder where the watch begins.
    fn place(&self) -> &Path {
        match self {
            Anchor::Folder { path, .. } => path,
            Anchor::Files { folder, .. } => folder,
            Anchor::Glob { base, .. } => base,
        }
    }
}

impl Glob {
    fn matches(&self, path: &Path) -> bool {
        path.strip_prefix(&self.base).is_ok_and(|rest| self.matcher.is_match(rest))
    }

    /// Whether something in this folder may match.
    fn reaches(&self, folder: &Path) -> bool {
        let Some(depth) = self.depth else { return true };
        folder.strip_prefix(&self.base).is_ok_and(|rest| rest.components().count() < depth)
    }
}

/// The absolute path, without `..`; without links, too, where the system's events name things so.
fn tidy(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    if cfg!(target_os = "macos") || absolute.components().any(|part| part == Component::ParentDir) {
        return fs::canonicalize(&absolute).unwrap_or(absolute);
    }
    absolute
}

/// Why there is no scope. `Display` is a sentence that says what to do.
#[derive(Clone, Debug)]
pub struct ScopeError {
    kind: ScopeErrorKind,
    path: PathBuf,
    sentence: String,
}

/// What kind of [`ScopeError`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeErrorKind {
    /// A glob that can't be parsed.
    Glob,
    /// A file or folder that isn't there.
    Missing,
}

impl ScopeError {
    fn missing(path: &Path, what: &str) -> ScopeError {
        let sentence = format!("'{}', {what}, isn't there; create it, or correct the path.", path.display());
        ScopeError { kind: ScopeErrorKind::Missing, path: path.into(), sentence }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ScopeErrorKind {
        self.kind
    }

    /// The path or pattern as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for ScopeError {}
