//! Installs the package as users get it: as a wheel that is built from this source tree and installed by pip.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use crate::environment::{fnv, overlay, python, run, with_requirements, FileLock, SetupError};
use crate::interpreters::{find, Interpreter, Wanted};

/// The requirement that builds wheels.
const MATURIN: &str = "maturin==1.16.0\n";

type Installed = Arc<OnceLock<Result<PathBuf, SetupError>>>;

/// Returns an environment with the requirements and this source tree's amboss. It is created once for each interpreter.
pub fn installed(interpreter: &Interpreter) -> Result<PathBuf, SetupError> {
    static INSTALLED: OnceLock<Mutex<HashMap<PathBuf, Installed>>> = OnceLock::new();
    let installed = {
        let mut installed = INSTALLED.get_or_init(Mutex::default).lock().unwrap();
        installed.entry(interpreter.path.clone()).or_default().clone()
    };
    installed.get_or_init(|| install(interpreter)).clone()
}

fn install(interpreter: &Interpreter) -> Result<PathBuf, SetupError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut requirements = fs::read_to_string(root.join("crates/python/tests/requirements.txt")).unwrap();
    if interpreter.is_free_threaded {
        // They need the interpreter lock.
        let needs_lock = |line: &&str| line.starts_with("gevent") || line.starts_with("eventlet");
        requirements = requirements.lines().filter(|line| !needs_lock(line)).map(|line| format!("{line}\n")).collect();
    }
    let base = with_requirements(interpreter, "", &requirements)?;
    let default = find(Wanted::Default).map_err(SetupError::Skipped)?;
    let tools = with_requirements(&default, "maturin-", MATURIN)?;

    let environments = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    fs::create_dir_all(&environments).unwrap();
    // One build at a time, because all of them use the same target directory.
    let _lock = FileLock::acquire(&environments.join("lock"))?;
    let environment = environments.join(interpreter.name());
    let stamp = environment.join("stamp");
    let state = format!("{:016x} {}", hash_sources(root), base.display());
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == state) {
        return Ok(environment);
    }
    overlay(&base, &environment)?;
    let wheel = build(root, interpreter, &tools, &environment.join("wheel"))?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "--python"];
    let install = ["install", "--quiet", "--force-reinstall", "--no-deps"];
    run(python(&base).args(pip).arg(environment.join("bin/python")).args(install).arg(wheel))
        .map_err(SetupError::Failed)?;
    fs::write(stamp, state).unwrap();
    Ok(environment)
}

/// Builds a wheel for an interpreter, and returns its path.
fn build(root: &Path, interpreter: &Interpreter, tools: &Path, out: &Path) -> Result<PathBuf, SetupError> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut maturin = Command::new(tools.join("bin/maturin"));
    maturin
        .args(["build", "--quiet", "--profile", "dev", "--manifest-path"])
        .arg(root.join("crates/python/Cargo.toml"));
    maturin.arg("--interpreter").arg(&interpreter.path).arg("--out").arg(out).current_dir(root);
    // The profile of the tests, so that crates which are compiled for them are not compiled again.
    maturin.env("CARGO_TARGET_DIR", target).env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    // Variables with which cargo describes the package of this test would confuse the build.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|of| name.starts_with(of)) {
            maturin.env_remove(name);
        }
    }
    run(&mut maturin).map_err(SetupError::Failed)?;
    let mut wheels = fs::read_dir(out).unwrap().flatten().map(|entry| entry.path());
    wheels.next().ok_or_else(|| SetupError::Failed("maturin has built no wheel".into()))
}

/// Hashes all files that the wheel is made of.
fn hash_sources(root: &Path) -> u64 {
    let mut files = vec![root.join("Cargo.toml"), root.join("Cargo.lock"), root.join("crates/python/pyproject.toml")];
    for folder in ["src", "crates/python/python", "crates/python/src", "crates/python/Cargo.toml"] {
        collect_files(&root.join(folder), &mut files);
    }
    for package in ["core", "tls", "reload", "toolkit", "debugger"] {
        let package = root.join("crates").join(package);
        collect_files(&package.join("src"), &mut files);
        collect_files(&package.join("Cargo.toml"), &mut files);
    }
    files.sort();
    let texts: Vec<_> = files
        .iter()
        .map(|file| [file.as_os_str().as_encoded_bytes().to_vec(), fs::read(file).unwrap_or_default()].concat())
        .collect();
    fnv(texts.iter().map(Vec::as_slice))
}

/// Adds a file, or all files below a directory, to a list.
fn collect_files(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        if path.file_name().is_some_and(|name| name == "__pycache__") {
            return;
        }
        for entry in fs::read_dir(path).unwrap().flatten() {
            collect_files(&entry.path(), files);
        }
    } else {
        files.push(path.to_owned());
    }
}
