//! The package as users get it: a wheel, built from this source tree and installed by pip.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use crate::environment::{fnv, on_top_of, python, run, with_requirements, Lock, Obstacle};
use crate::interpreters::{find, Interpreter, Which};

/// Builds wheels.
const MATURIN: &str = "maturin==1.16.0\n";

type Installed = Arc<OnceLock<Result<PathBuf, Obstacle>>>;

/// An environment with the requirements and this source tree's amboss; made once for each interpreter.
pub fn installed(interpreter: &Interpreter) -> Result<PathBuf, Obstacle> {
    static MADE: OnceLock<Mutex<HashMap<PathBuf, Installed>>> = OnceLock::new();
    let made = {
        let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
        made.entry(interpreter.path.clone()).or_default().clone()
    };
    made.get_or_init(|| install(interpreter)).clone()
}

fn install(interpreter: &Interpreter) -> Result<PathBuf, Obstacle> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let requirements = fs::read_to_string(root.join("crates/python/tests/requirements.txt")).unwrap();
    let below = with_requirements(interpreter, "", &requirements)?;
    let default = find(Which::Default).map_err(Obstacle::Skipped)?;
    let tools = with_requirements(&default, "maturin-", MATURIN)?;

    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    fs::create_dir_all(&ours).unwrap();
    // One build at a time: they share the target folder.
    let _lock = Lock::hold(&ours.join("lock"))?;
    let environment = ours.join(interpreter.name());
    let stamp = environment.join("stamp");
    let state = format!("{:016x} {}", sources(root), below.display());
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == state) {
        return Ok(environment);
    }
    on_top_of(&below, &environment)?;
    let wheel = build(root, interpreter, &tools, &environment.join("wheel"))?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "--python"];
    let install = ["install", "--quiet", "--force-reinstall", "--no-deps"];
    run(python(&below).args(pip).arg(environment.join("bin/python")).args(install).arg(wheel))
        .map_err(Obstacle::Broken)?;
    fs::write(stamp, state).unwrap();
    Ok(environment)
}

fn build(root: &Path, interpreter: &Interpreter, tools: &Path, out: &Path) -> Result<PathBuf, Obstacle> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut maturin = Command::new(tools.join("bin/maturin"));
    maturin
        .args(["build", "--quiet", "--profile", "dev", "--manifest-path"])
        .arg(root.join("crates/python/Cargo.toml"));
    maturin.arg("--interpreter").arg(&interpreter.path).arg("--out").arg(out).current_dir(root);
    // As for tests: what is compiled for those is not compiled a second time.
    maturin.env("CARGO_TARGET_DIR", target).env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    // What cargo says about this package is nothing to the packages that are built now.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|of| name.starts_with(of)) {
            maturin.env_remove(name);
        }
    }
    run(&mut maturin).map_err(Obstacle::Broken)?;
    let mut wheels = fs::read_dir(out).unwrap().flatten().map(|entry| entry.path());
    wheels.next().ok_or_else(|| Obstacle::Broken("maturin has built no wheel".into()))
}

/// A number that changes with everything the wheel is made from.
fn sources(root: &Path) -> u64 {
    let mut files = vec![root.join("Cargo.toml"), root.join("Cargo.lock"), root.join("crates/python/pyproject.toml")];
    for folder in ["src", "crates/python/python", "crates/python/src", "crates/python/Cargo.toml"] {
        gather(&root.join(folder), &mut files);
    }
    for package in ["core", "tls", "reload"] {
        let package = root.join("crates").join(package);
        gather(&package.join("src"), &mut files);
        gather(&package.join("Cargo.toml"), &mut files);
    }
    files.sort();
    let texts: Vec<_> = files
        .iter()
        .map(|file| [file.as_os_str().as_encoded_bytes().to_vec(), fs::read(file).unwrap_or_default()].concat())
        .collect();
    fnv(texts.iter().map(Vec::as_slice))
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        if path.file_name().is_some_and(|name| name == "__pycache__") {
            return;
        }
        for entry in fs::read_dir(path).unwrap().flatten() {
            gather(&entry.path(), files);
        }
    } else {
        files.push(path.to_owned());
    }
}
