//! [`Project`]: decides which files belong to the project, and how paths are shown.

use std::path::{Component, Path, PathBuf};

/// Folders inside a project that hold other people's code or the products of a build.
const FOREIGN_FOLDERS: [&str; 9] =
    [".cargo", ".git", ".rustup", ".tox", ".venv", "dist-packages", "node_modules", "site-packages", "target"];
/// Files that mark a folder as a Python environment, whatever its name is.
const ENVIRONMENT_MARKER: &str = "pyvenv.cfg";

/// The folder of the project: its files are what the reader of a report can fix, so their frames are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// Makes a project from its folder. A relative path is relative to the current folder.
    pub fn new(root: impl AsRef<Path>) -> Project {
        let root = root.as_ref();
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Project { root: normalize(&absolute) }
    }

    /// The project in the current folder.
    pub fn current() -> Project {
        Project::new(".")
    }

    /// The absolute form of a path in a backtrace or in the output of a compiler. A relative path is relative to the
    /// folder of the project, or, in a workspace, to a folder above: cargo runs the compiler there.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let folders = self.root.ancestors().take(MAX_LEVELS);
        let found = folders.map(|folder| normalize(&folder.join(path))).find(|path| path.is_file());
        found.unwrap_or_else(|| normalize(&self.root.join(path)))
    }

    /// Whether a file (an absolute path) belongs to the project.
    pub(crate) fn contains(&self, file: &Path) -> bool {
        let Ok(inner) = file.strip_prefix(&self.root) else { return false };
        let mut folder = self.root.clone();
        let mut folders = inner.parent().into_iter().flat_map(Path::components);
        let is_own = |name: Component<'_>| {
            folder.push(name);
            let is_foreign = FOREIGN_FOLDERS.iter().any(|foreign| name.as_os_str() == *foreign);
            !is_foreign && !folder.join(ENVIRONMENT_MARKER).is_file()
        };
        folders.all(is_own)
    }

    /// The path as a report shows it: relative to the project, or from the name of the library on.
    pub(crate) fn label(&self, file: &Path) -> String {
        if self.contains(file) {
            let inner = file.strip_prefix(&self.root).unwrap_or(file);
            return inner.to_string_lossy().into_owned();
        }
        let text = file.to_string_lossy().replace('\\', "/");
        for (before, levels) in LIBRARY_FOLDERS {
            if let Some((_, inner)) = text.rsplit_once(before) {
                let inner = inner.splitn(levels + 1, '/').last().unwrap_or(inner);
                return inner.to_owned();
            }
        }
        text
    }
}

/// The maximum number of folders in which a relative path is looked for, from the project upwards: enough for
/// `workspace/crates/name`.
const MAX_LEVELS: usize = 4;

/// The part of a path before a library, and the number of folders after it that say nothing to a reader: the registry's
/// index in Cargo's paths, a hash in rustc's.
const LIBRARY_FOLDERS: [(&str, usize); 5] =
    [("/registry/src/", 1), ("/git/checkouts/", 0), ("/site-packages/", 0), ("/dist-packages/", 0), ("/rustc/", 2)];

/// Removes `.` and `..` from an absolute path without a look at the file system.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            component => normal.push(component),
        }
    }
    normal
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use amboss_testkit::TempDir;

    #[test]
    fn the_files_of_the_project_are_known() {
        let project = Project::new("/home/me/app");
        let cases = [
            ("/home/me/app/src/main.rs", true, "src/main.rs"),
            ("/home/me/application/main.rs", false, "/home/me/application/main.rs"),
            (
                "/home/me/app/target/debug/build/x/out/bindings.rs",
                false,
                "/home/me/app/target/debug/build/x/out/bindings.rs",
            ),
            (
                "/home/me/.cargo/registry/src/index.crates.io-1949/serde-1.0.2/src/lib.rs",
                false,
                "serde-1.0.2/src/lib.rs",
            ),
            (
                "/rustc/254b59607d4417e9dffbc307138ae5c86280fe4c/library/core/src/panicking.rs",
                false,
                "core/src/panicking.rs",
            ),
            ("/home/me/app/.venv/lib/python3.11/site-packages/flask/app.py", false, "flask/app.py"),
            ("/usr/lib/python3.11/json/decoder.py", false, "/usr/lib/python3.11/json/decoder.py"),
        ];
        for (path, is_project, label) in cases {
            assert_eq!(project.contains(Path::new(path)), is_project, "{path}");
            assert_eq!(project.label(Path::new(path)), label, "{path}");
        }
        assert_eq!(project.resolve("./src/../src/a.rs"), Path::new("/home/me/app/src/a.rs"));
        assert!(!project.contains(&project.resolve("../../x.rs")));
    }

    #[test]
    fn a_relative_path_is_found_in_a_workspace_and_an_environment_is_foreign() {
        let folder = TempDir::new("project");
        for name in ["crates/web/src", "crates/web/my-env/lib"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        folder.write("crates/web/src/main.rs", "");
        folder.write("crates/web/my-env/pyvenv.cfg", "");
        let project = Project::new(folder.join("crates/web"));
        let expected = folder.join("crates/web/src/main.rs");
        assert_eq!(project.resolve("crates/web/src/main.rs"), expected);
        assert_eq!(project.resolve("src/main.rs"), expected);
        assert!(project.contains(&expected));
        assert!(!project.contains(&folder.join("crates/web/my-env/lib/six.py")));
    }
}
