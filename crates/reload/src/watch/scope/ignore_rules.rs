//! What is ignored: folders of tools, temporary files of editors, and what `.gitignore` files say.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::Gitignore;
use ignore::Match;

/// Folders that are never entered: version control, caches, build outputs and installed packages.
///
/// [`ScopeOptions::roots`](crate::ScopeOptions::roots) repeats the list for users.
pub(super) const ALWAYS_IGNORED: &[&str] =
    &["__pycache__", ".git", ".hg", ".tox", ".nox", ".pytest_cache", ".mypy_cache", "target", "node_modules", ".venv"];

pub(super) fn is_always_ignored(folder: &OsStr) -> bool {
    ALWAYS_IGNORED.iter().any(|name| folder == *name)
}

/// Whether a file name is one that editors use for backups and swap files, or briefly while they save.
pub(super) fn is_editor_temp(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let starts = |start: &[u8]| name.starts_with(start);
    let ends = |end: &[u8]| name.ends_with(end);
    ends(b"~")
        || starts(b".#")
        || (name.len() > 1 && starts(b"#") && ends(b"#"))
        || [&b".swp"[..], b".swo", b".swx", b".kate-swp", b"___jb_tmp___", b"___jb_old___"].iter().any(|end| ends(end))
        || name == b"4913"
        || starts(b".goutputstream-")
}

/// The `.gitignore` of a folder and those of the folders above. The deepest file with a matching line decides.
#[derive(Debug)]
pub(super) struct IgnoreRules {
    own: Gitignore,
    above: Option<Arc<IgnoreRules>>,
}

impl IgnoreRules {
    pub(super) fn none() -> Arc<IgnoreRules> {
        Arc::new(IgnoreRules { own: Gitignore::empty(), above: None })
    }

    /// The rules that apply to a folder from the folders above it, up to the top of its work tree. Without a `.git`
    /// above the folder there are none, because it is unknown where the project begins.
    pub(super) fn above(folder: &Path) -> Arc<IgnoreRules> {
        let mut above: Vec<PathBuf> = Vec::new();
        if !folder.join(".git").exists() {
            for ancestor in folder.ancestors().skip(1) {
                above.push(ancestor.to_path_buf());
                if ancestor.join(".git").exists() {
                    return above.iter().rev().fold(IgnoreRules::none(), |rules, folder| rules.within(folder));
                }
            }
        }
        IgnoreRules::none()
    }

    /// The rules inside a folder: these and its own `.gitignore`. Invalid lines are skipped, as git does.
    pub(super) fn within(self: &Arc<IgnoreRules>, folder: &Path) -> Arc<IgnoreRules> {
        let file = folder.join(".gitignore");
        if !file.is_file() {
            return self.clone();
        }
        let (own, _) = Gitignore::new(file);
        Arc::new(IgnoreRules { own, above: Some(self.clone()) })
    }

    /// Whether the rules ignore a path.
    pub(super) fn ignore(&self, path: &Path, is_folder: bool) -> bool {
        match self.own.matched(path, is_folder) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => self.above.as_ref().is_some_and(|rules| rules.ignore(path, is_folder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_of_editors_are_recognized_by_name() {
        for name in ["a.py~", ".#a.py", "#a.py#", ".a.py.swp", "4913", ".goutputstream-X1", "a.py___jb_tmp___"] {
            assert!(is_editor_temp(OsStr::new(name)), "{name}");
        }
        for name in ["a.py", "#", "a#", "49130", ".env", "swp", "#a"] {
            assert!(!is_editor_temp(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_deepest_gitignore_decides_and_applies_only_within_its_work_tree() {
        let top = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = top.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        write(".gitignore", "*");
        write("tree/.git/HEAD", "");
        write("tree/.gitignore", "*.log\n/build/\n");
        write("tree/app/.gitignore", "!keep.log\nlocal/\n");
        let app = top.path().join("tree/app");
        let rules = IgnoreRules::above(&app).within(&app);
        assert!(rules.ignore(&app.join("a.log"), false));
        assert!(!rules.ignore(&app.join("keep.log"), false));
        assert!(!rules.ignore(&app.join("a.py"), false), "a file above the work tree does not apply");
        assert!(rules.ignore(&app.join("local"), true));
        assert!(!rules.ignore(&app.join("local"), false));
        assert!(!rules.ignore(&app.join("build"), true), "/build/ is anchored in the folder above");
        let outside = top.path().join("other");
        assert!(!IgnoreRules::above(&outside).ignore(&outside.join("a.log"), false));
    }
}
