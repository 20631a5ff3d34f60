//! Virtual environments for the tests.
//!
//! For each interpreter there is one environment with the requirements. It is kept between runs, outside of the source
//! tree, so that checkouts share what takes long to download. On top of it, each target directory has an environment in
//! which amboss itself is installed, so that checkouts never use each other's amboss.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::cache_dir;
use crate::interpreters::Interpreter;

/// Why a test can't run.
#[derive(Clone, Debug)]
pub enum SetupError {
    /// Something is missing on this machine, so the test is skipped.
    Skipped(String),
    /// The setup has failed, so the test fails.
    Failed(String),
}

/// An exclusive lock on a file, against other runs at the same time. Dropping it unlocks the file.
pub struct FileLock(#[allow(dead_code, reason = "closing the file releases the lock")] File);

impl FileLock {
    pub fn acquire(path: &Path) -> Result<FileLock, SetupError> {
        let locked = File::create(path).and_then(|file| {
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(file)
        });
        locked.map(FileLock).map_err(|error| SetupError::Failed(format!("can't lock {}: {error}", path.display())))
    }
}

/// Returns an environment with these requirements, which is created unless it exists in the cache.
pub fn with_requirements(interpreter: &Interpreter, name: &str, requirements: &str) -> Result<PathBuf, SetupError> {
    let cache = cache_dir();
    let failed = |error: std::io::Error| SetupError::Failed(format!("in {}: {error}", cache.display()));
    fs::create_dir_all(&cache).map_err(failed)?;
    let hash = fnv([requirements.as_bytes(), interpreter.path.as_os_str().as_encoded_bytes()]);
    let name = format!("{name}{}-{hash:016x}", interpreter.name());
    let finished = cache.join(&name);
    let _lock = FileLock::acquire(&cache.join(format!("{name}.lock")))?;
    if run(python(&finished).args(["-c", ""])).is_ok() {
        return Ok(finished);
    }
    // The environment gets its final name only when it is complete, so an interrupted run leaves none that is broken.
    let unfinished = cache.join(format!("{name}.begun"));
    for old in [&finished, &unfinished] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(failed)?;
        }
    }
    run(Command::new(&interpreter.path).args(["-m", "venv"]).arg(&unfinished)).map_err(SetupError::Failed)?;
    let list = unfinished.join("requirements.txt");
    fs::write(&list, requirements).map_err(failed)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    if let Err(output) = run(python(&unfinished).args(pip).arg(&list)) {
        // pip prints this for each failed attempt to reach the package index.
        if output.contains("Retrying (Retry(") {
            return Err(SetupError::Skipped(format!("Python {} can't reach the package index", interpreter.name())));
        }
        return Err(SetupError::Failed(output));
    }
    fs::rename(&unfinished, &finished).map_err(failed)?;
    Ok(finished)
}

/// Creates an environment in `folder` that sees all packages of `base` and has none of its own.
pub fn overlay(base: &Path, folder: &Path) -> Result<(), SetupError> {
    let failed = |error: std::io::Error| SetupError::Failed(format!("in {}: {error}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    run(python(base).args(["-m", "venv", "--without-pip"]).arg(folder)).map_err(SetupError::Failed)?;
    let site_packages = |mut python: Command| -> Result<String, SetupError> {
        run(python.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')"]))
            .map_err(SetupError::Failed)
    };
    let base = site_packages(python(base))?;
    fs::write(Path::new(&site_packages(python(folder))?).join("requirements.pth"), base + "\n").map_err(failed)
}

/// Returns a command that runs the interpreter of an environment.
pub fn python(environment: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    for name in ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV"] {
        command.env_remove(name);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a command and returns its standard output. If it fails, the error contains both outputs.
pub fn run(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Err(error) => Err(format!("{command:?}: {error}")),
        Ok(output) => {
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() {
                return Ok(stdout);
            }
            let stderr = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}\n{stdout}{stderr}", output.status))
        }
    }
}

/// Hashes bytes with FNV-1a, whose result does not depend on the version of Rust.
pub fn fnv<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
