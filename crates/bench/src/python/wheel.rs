//! amboss, as the wheel that users install.

use super::venv::{output, target, Venv};
use crate::result::Result;
use std::path::{Path, PathBuf};

/// The name of the package.
pub const PACKAGE: &str = "amboss";

/// Installs the wheel, and builds it first if none is given.
///
/// # Errors
///
/// When the source is missing, or pip fails.
pub fn install(venv: &Venv, given: Option<&Path>) -> Result<()> {
    // pip would keep an installed wheel of the same version, even if its content differs.
    let install = |wheel: &Path| venv.install(&["--force-reinstall", &wheel.to_string_lossy()]);
    if let Some(wheel) = given {
        return install(wheel);
    }
    let folder = target()?.join(format!("python-wheel-{}", std::process::id()));
    let result = build(venv, &folder).and_then(|wheel| install(&wheel));
    let _ = std::fs::remove_dir_all(&folder);
    result
}

/// Builds the wheel with pip, which compiles in release mode.
fn build(venv: &Venv, folder: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    if !source.join("pyproject.toml").exists() {
        return Err("crates/python is missing, so the wheel can't be built; pass one with --wheel".into());
    }
    eprintln!("python: building the wheel of amboss");
    output(venv.pip(&["wheel", "--quiet", "--no-deps", "--wheel-dir"]).arg(folder).arg(&source))?;
    let mut files = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| format!("pip wrote no wheel to {}", folder.display()))
}
