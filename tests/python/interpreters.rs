//! Finds the interpreters of this machine: the default one, and the oldest and the newest one that amboss supports.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::cache_dir;

/// The oldest CPython that the package supports.
const OLDEST: (u32, u32) = (3, 9);
/// The newest minor version that is searched in PATH.
const NEWEST: u32 = 14;

/// A CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The interpreter itself, not a wrapper that chooses among several.
    pub path: PathBuf,
    /// Major, minor and patch version.
    pub version: (u32, u32, u32),
    /// Whether it was built without the interpreter lock (PEP 703).
    pub is_free_threaded: bool,
}

impl Interpreter {
    /// Returns the version, as in `3.12.1`.
    pub fn name(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}{}", if self.is_free_threaded { "t" } else { "" })
    }
}

/// The interpreter that a test wants.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    Default,
    Oldest,
    Newest,
    /// One without the interpreter lock, which is not among the others.
    FreeThreaded,
}

/// Returns the interpreter that a test wants, or why it can't have it.
pub fn find(wanted: Wanted) -> Result<Interpreter, String> {
    static FOUND: OnceLock<Vec<Interpreter>> = OnceLock::new();
    let found = FOUND.get_or_init(search);
    let default = found.iter().find(|one| !one.is_free_threaded).ok_or("no CPython 3.9 or newer was found")?;
    let with_lock = || found.iter().filter(|one| !one.is_free_threaded);
    let other = match wanted {
        Wanted::Default => return Ok(default.clone()),
        Wanted::Oldest => with_lock().min_by_key(|interpreter| interpreter.version),
        Wanted::Newest => with_lock().max_by_key(|interpreter| interpreter.version),
        Wanted::FreeThreaded => {
            // PyO3 supports none before 3.14.
            let free = found.iter().find(|one| one.is_free_threaded && one.version >= (3, 14, 0)).cloned();
            let missing =
                "there is no CPython 3.14 without the interpreter lock; tests/python/build_free_threaded makes one";
            return free.ok_or(missing.into());
        }
    };
    match other {
        Some(other) if other.version != default.version => Ok(other.clone()),
        _ => Err(format!("it is the default interpreter ({})", default.name())),
    }
}

/// Returns all interpreters, the default one first.
fn search() -> Vec<Interpreter> {
    let mut names = vec![PathBuf::from("python3")];
    names.extend((OLDEST.1..=NEWEST).map(|minor| PathBuf::from(format!("python3.{minor}"))));
    if let Some(home) = std::env::var_os("HOME") {
        let versions = PathBuf::from(home).join(".pyenv/versions");
        let folders = std::fs::read_dir(versions).into_iter().flatten().flatten();
        let mut installed: Vec<_> = folders.map(|folder| folder.path().join("bin/python3")).collect();
        installed.sort();
        names.extend(installed);
    }
    let free_threaded = format!("python3.{NEWEST}t");
    // As `build_free_threaded` installs it.
    names.push(cache_dir().join(&free_threaded).join("bin").join(&free_threaded));
    names.push(free_threaded.into());
    let mut found: Vec<Interpreter> = Vec::new();
    for interpreter in names.iter().filter_map(inspect) {
        if !found.contains(&interpreter) {
            found.push(interpreter);
        }
    }
    found
}

/// Asks an interpreter for its path and version; `None` if it is too old or can't create virtual environments.
fn inspect(name: &PathBuf) -> Option<Interpreter> {
    let question = "import sys, venv, ensurepip; assert sys.implementation.name == 'cpython'; \
                    print(*sys.version_info[:3], int(not getattr(sys, '_is_gil_enabled', lambda: True)()), getattr(sys, '_base_executable', sys.executable))";
    let output = Command::new(name).args(["-c", question]).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.trim_end().splitn(5, ' ');
    let mut number = || words.next()?.parse().ok();
    let version = (number()?, number()?, number()?);
    let is_free_threaded = number()? == 1;
    let path = PathBuf::from(words.next()?);
    (version >= (OLDEST.0, OLDEST.1, 0)).then_some(Interpreter { path, version, is_free_threaded })
}
