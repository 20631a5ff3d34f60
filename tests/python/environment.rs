//! Virtual environments: one with the requirements for each interpreter, kept between runs, outside of the source tree;
//! on top of it one for each target folder, which amboss itself is installed in.
//!
//! So two checkouts share what takes long to fetch, and never see each other's amboss.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::interpreters::Interpreter;

/// Why a test does not run, or can't.
#[derive(Clone, Debug)]
pub enum Obstacle {
    /// Something is missing on this machine.
    Skipped(String),
    /// Something is wrong.
    Broken(String),
}

/// The folder for what is kept between runs.
fn cache() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("AMBOSS_TEST_CACHE").unwrap_or_else(|| {
        let home = || from("HOME").map(|home| home.join(".cache"));
        from("XDG_CACHE_HOME").or_else(home).unwrap_or_else(std::env::temp_dir).join("amboss-tests")
    })
}

/// Holds a lock file as long as it lives, against another run at the same time.
pub struct Lock(#[allow(dead_code, reason = "closing it is what unlocks")] File);

impl Lock {
    pub fn hold(path: &Path) -> Result<Lock, Obstacle> {
        let locked = File::create(path).and_then(|file| {
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(file)
        });
        locked.map(Lock).map_err(|error| Obstacle::Broken(format!("can't lock {}: {error}", path.display())))
    }
}

/// An environment with these requirements, from the cache or made now.
pub fn with_requirements(interpreter: &Interpreter, name: &str, requirements: &str) -> Result<PathBuf, Obstacle> {
    let cache = cache();
    let broken = |error: std::io::Error| Obstacle::Broken(format!("in {}: {error}", cache.display()));
    fs::create_dir_all(&cache).map_err(broken)?;
    let hash = fnv([requirements.as_bytes(), interpreter.path.as_os_str().as_encoded_bytes()]);
    let name = format!("{name}{}-{hash:016x}", interpreter.name());
    let finished = cache.join(&name);
    let _lock = Lock::hold(&cache.join(format!("{name}.lock")))?;
    if run(python(&finished).args(["-c", ""])).is_ok() {
        return Ok(finished);
    }
    // Whatever is there under its name works; what was begun and never finished lies under this one.
    let begun = cache.join(format!("{name}.begun"));
    for left in [&finished, &begun] {
        if left.exists() {
            fs::remove_dir_all(left).map_err(broken)?;
        }
    }
    run(Command::new(&interpreter.path).args(["-m", "venv"]).arg(&begun)).map_err(Obstacle::Broken)?;
    let list = begun.join("requirements.txt");
    fs::write(&list, requirements).map_err(broken)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    if let Err(output) = run(python(&begun).args(pip).arg(&list)) {
        // pip says so for each attempt to reach the index.
        if output.contains("Retrying (Retry(") {
            return Err(Obstacle::Skipped(format!(
                "the package index can't be reached from Python {}",
                interpreter.name()
            )));
        }
        return Err(Obstacle::Broken(output));
    }
    fs::rename(&begun, &finished).map_err(broken)?;
    Ok(finished)
}

/// An environment in the target folder that sees everything of `below`; empty otherwise.
pub fn on_top_of(below: &Path, folder: &Path) -> Result<(), Obstacle> {
    let broken = |error: std::io::Error| Obstacle::Broken(format!("in {}: {error}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(broken)?;
    }
    run(python(below).args(["-m", "venv", "--without-pip"]).arg(folder)).map_err(Obstacle::Broken)?;
    let packages = |python: Command| -> Result<String, Obstacle> {
        let mut python = python;
        run(python.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')"]))
            .map_err(Obstacle::Broken)
    };
    let below = packages(python(below))?;
    fs::write(Path::new(&packages(python(folder))?).join("requirements.pth"), below + "\n").map_err(broken)
}

/// The interpreter of an environment.
pub fn python(environment: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    for name in ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV"] {
        command.env_remove(name);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a command; what it printed, also as the error when it failed.
pub fn run(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Err(error) => Err(format!("{command:?}: {error}")),
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() {
                return Ok(printed);
            }
            let complained = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}\n{printed}{complained}", output.status))
        }
    }
}

/// FNV-1a: the same number for the same bytes, whatever Rust this is built with.
pub fn fnv<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
