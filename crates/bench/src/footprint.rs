//! The cost of linking amboss-core: the time of a clean build, and the size of the stripped hello example.

use crate::process::spawn_error;
use crate::result::Result;
use crate::table::{self, Table};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A temporary target folder, so that the build is a clean one. Dropping it removes the folder.
struct TargetFolder(PathBuf);

impl Drop for TargetFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// None: the table says why something cannot be measured.
pub fn run() -> Result<()> {
    let mut table = Table::new(&["amboss-core", "figure"]);
    for (name, arguments) in [("clean build, debug", &["--lib"][..]), ("clean build, release", &["--lib", "--release"])]
    {
        eprintln!("footprint: {name}");
        match build(arguments) {
            Ok((time, _)) => table.row(vec![name.into(), table::duration(time)]),
            Err(reason) => table.missing_row(name, &reason),
        }
    }
    eprintln!("footprint: stripped hello");
    for profile in ["release", "small"] {
        let hello = format!("stripped hello, {profile}");
        match build(&["--example", "hello", "--profile", profile]).and_then(|(_, target)| {
            let file = target.0.join(profile).join("examples/hello");
            std::fs::metadata(&file).map_err(|error| format!("there is no {}: {error}", file.display()))
        }) {
            Ok(metadata) => table.row(vec![hello, format!("{:.0} KiB", metadata.len() as f64 / 1024.0)]),
            Err(reason) => table.missing_row(&hello, &reason),
        }
    }
    table.print("Footprint");
    Ok(())
}

fn build(arguments: &[&str]) -> Result<(Duration, TargetFolder)> {
    let target = TargetFolder(std::env::temp_dir().join(format!("amboss-bench-target-{}", std::process::id())));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "amboss-core"])
        .args(arguments)
        .arg("--target-dir")
        .arg(&target.0)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().map_err(|error| spawn_error(&command, &error))?;
    let time = start.elapsed();
    if output.status.success() {
        return Ok((time, target));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error")).take(2).collect();
    Err(format!("cargo failed: {}", errors.join("; ")))
}
