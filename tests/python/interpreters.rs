//! Which interpreters there are: the default one, and the oldest and newest that amboss is for.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The oldest CPython that the package is for, and what is looked for in PATH.
const OLDEST: (u32, u32) = (3, 9);
const NEWEST: u32 = 14;

/// A CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Itself, no wrapper that chooses among several.
    pub path: PathBuf,
    /// Major, minor, patch level.
    pub version: (u32, u32, u32),
}

impl Interpreter {
    /// As in `3.12.1`.
    pub fn name(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }
}

/// What a test runs with.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    Default,
    Oldest,
    Newest,
}

/// The interpreter for a test, or why there is none.
pub fn find(which: Which) -> Result<Interpreter, String> {
    static FOUND: OnceLock<Vec<Interpreter>> = OnceLock::new();
    let found = FOUND.get_or_init(search);
    let default = found.first().ok_or("no CPython 3.9 or newer was found")?;
    let other = match which {
        Which::Default => return Ok(default.clone()),
        Which::Oldest => found.iter().min_by_key(|interpreter| interpreter.version),
        Which::Newest => found.iter().max_by_key(|interpreter| interpreter.version),
    };
    match other {
        Some(other) if other.version != default.version => Ok(other.clone()),
        _ => Err(format!("the default interpreter ({}) is the one", default.name())),
    }
}

/// All interpreters, the default one first.
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
    let mut found: Vec<Interpreter> = Vec::new();
    for interpreter in names.iter().filter_map(ask) {
        if !found.contains(&interpreter) {
            found.push(interpreter);
        }
    }
    found
}

/// Asks an interpreter who it is; one that can't make environments or is too old is none.
fn ask(name: &PathBuf) -> Option<Interpreter> {
    let question = "import sys, venv, ensurepip; assert sys.implementation.name == 'cpython'; \
                    print(*sys.version_info[:3], getattr(sys, '_base_executable', sys.executable))";
    let output = Command::new(name).args(["-c", question]).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.trim_end().splitn(4, ' ');
    let mut number = || words.next()?.parse().ok();
    let version = (number()?, number()?, number()?);
    let path = PathBuf::from(words.next()?);
    (version >= (OLDEST.0, OLDEST.1, 0)).then_some(Interpreter { path, version })
}
