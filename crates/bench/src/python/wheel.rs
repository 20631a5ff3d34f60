//! amboss itself, as the wheel that users install.

use super::environment::{output, target, Environment};
use crate::Result;
use std::path::{Path, PathBuf};

/// The package's name.
pub const PACKAGE: &str = "amboss";

/// Installs the wheel; builds it when none is given.
///
/// # Errors
///
/// When there is nothing to build it from, or pip fails.
pub fn install(environment: &Environment, given: Option<&Path>) -> Result<()> {
    // The version says nothing about what is in it.
    let install = |wheel: &Path| environment.install(&["--force-reinstall", &wheel.to_string_lossy()]);
    if let Some(wheel) = given {
        return install(wheel);
    }
    let folder = target()?.join(format!("python-wheel-{}", std::process::id()));
    let done = build(environment, &folder).and_then(|wheel| install(&wheel));
    let _ = std::fs::remove_dir_all(&folder);
    done
}

/// Builds the wheel as pip does it from the sources, which is in release mode.
fn build(environment: &Environment, folder: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    if !source.join("pyproject.toml").exists() {
        return Err("there is no crates/python to build a wheel from; give one with --wheel".into());
    }
    eprintln!("python: building the wheel of amboss");
    output(environment.pip(&["wheel", "--quiet", "--no-deps", "--wheel-dir"]).arg(folder).arg(&source))?;
    let mut files = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| format!("pip left no wheel in {}", folder.display()))
}
