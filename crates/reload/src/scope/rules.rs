//! What nobody wants watched: folders of tools, editors' droppings, and what `.gitignore` files say.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::Gitignore;
use ignore::Match;

/// Folders that are never looked into, wherever they are: version control, caches, and what is built or installed.
pub const ALWAYS_IGNORED: &[&str] =
    &["__pycache__", ".git", ".hg", ".tox", ".nox", ".pytest_cache", ".mypy_cache", "target", "node_modules", ".venv"];

pub(super) fn always_ignored(folder: &OsStr) -> bool {
    ALWAYS_IGNORED.iter().any(|name| folder == *name)
}

/// Files that editors keep beside the one being edited, or write for the blink of an eye while saving.
pub(super) fn dropping(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let begins = |start: &[u8]| name.starts_with(start);
    let ends = |end: &[u8]| name.ends_with(end);
    ends(b"~")
        || begins(b".#")
        || (name.len() > 1 && begins(b"#") && ends(b"#"))
        || [&b".swp"[..], b".swo", b".swx", b".kate-swp", b"___jb_tmp___", b"___jb_old___"].iter().any(|end| ends(end))
        || name == b"4913"
        || begins(b".goutputstream-")
}

/// The `.gitignore` of a folder, and those of the folders above; the deepest one with an opinion decides.
#[derive(Debug)]
pub(super) struct Rules {
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

impl Rules {
    pub(super) fn none() -> Arc<Rules> {
        Arc::new(Rules { own: Gitignore::empty(), above: None })
    }

    /// The rules that reach a folder from above it: those of the work tree it lies in. Without a `.git` anywhere above
    /// there are none, since then nobody knows where the project begins.
    pub(super) fn above(folder: &Path) -> Arc<Rules> {
        let mut above: Vec<PathBuf> = Vec::new();
        if !folder.join(".git").exists() {
            for ancestor in folder.ancestors().skip(1) {
                above.push(ancestor.to_path_buf());
                if ancestor.join(".git").exists() {
                    return above.iter().rev().fold(Rules::none(), |rules, folder| rules.within(folder));
                }
            }
        }
        Rules::none()
    }

    /// The rules for what is in a folder: these, and its own `.gitignore`. Lines that make no sense are skipped, as git
    /// skips them.
    pub(super) fn within(self: &Arc<Rules>, folder: &Path) -> Arc<Rules> {
        let file = folder.join(".gitignore");
        if !file.is_file() {
            return self.clone();
        }
        let (own, _) = Gitignore::new(file);
        Arc::new(Rules { own, above: Some(self.clone()) })
    }

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
    fn editors_droppings_are_known_by_name() {
        for name in ["a.py~", ".#a.py", "#a.py#", ".a.py.swp", "4913", ".goutputstream-X1", "a.py___jb_tmp___"] {
            assert!(dropping(OsStr::new(name)), "{name}");
        }
        for name in ["a.py", "#", "a#", "49130", ".env", "swp", "#a"] {
            assert!(!dropping(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_deepest_gitignore_decides_and_only_within_its_work_tree() {
        let top = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = top.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        write(".gitignore", "*");
        write("tree/.git/HEAD", "");
        write("tree/.gitignore", "*.log\n/build/\n");
        write("tree/app/.gitignore", "!keep.log\nlocal/\n");
        let app = top.path().join("tree/app");
        let rules = Rules::above(&app).within(&app);
        assert!(rules.ignore(&app.join("a.log"), false));
        assert!(!rules.ignore(&app.join("keep.log"), false));
        assert!(!rules.ignore(&app.join("a.py"), false), "the file above the work tree doesn't count");
        assert!(rules.ignore(&app.join("local"), true));
        assert!(!rules.ignore(&app.join("local"), false));
        assert!(!rules.ignore(&app.join("build"), true), "it is anchored one folder above");
        let outside = top.path().join("other");
        assert!(!Rules::above(&outside).ignore(&outside.join("a.log"), false));
    }
}
