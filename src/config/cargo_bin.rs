//! The program of a cargo project.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Returns the path that the program of a project has, or will have when it is built: that of its only program, or of
/// its `default-run`. `None` if it has no program.
///
/// # Errors
/// A message: cargo can't read the project, or there are several programs.
pub(super) fn find(directory: &Path) -> Result<Option<String>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(directory);
    let output = command.output().map_err(|error| format!("can't run cargo, which Cargo.toml needs: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo can't read Cargo.toml: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo's description of the project: {error}"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    // In a workspace, the package of this directory; in a virtual one, all of them.
    let manifest = directory.join("Cargo.toml").canonicalize().ok();
    let is_here = |package: &&&Value| package["manifest_path"].as_str().map(Path::new) == manifest.as_deref();
    let here: Vec<&Value> = packages.iter().filter(is_here).copied().collect();
    let packages = if here.is_empty() { packages } else { here };
    let is_program =
        |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"));
    let targets = packages.iter().flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let mut names: Vec<String> = targets.filter(is_program).filter_map(|target| text(&target["name"])).collect();
    if let [package] = packages[..] {
        if let Some(default) = text(&package["default_run"]) {
            names = vec![default];
        }
    }
    let target = text(&metadata["target_directory"]).unwrap_or_else(|| "target".into());
    match &names[..] {
        [] => Ok(None),
        [name] => Ok(Some(format!("{target}/debug/{name}"))),
        [first, ..] => Err(format!(
            "Cargo.toml has the programs {}; name one, as in amboss --reload -- {target}/debug/{first}",
            names.join(", ")
        )),
    }
}
