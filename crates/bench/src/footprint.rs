//! What amboss-core costs whoever links it: the time of a clean build, and the size of the stripped hello example.

use crate::child::could_not_start;
use crate::table::{self, Table};
use crate::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A target folder of its own, so that the build is a clean one. Dropping it removes it.
struct Target(PathBuf);

impl Drop for Target {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Builds, measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run() -> Result<()> {
    let mut table = Table::new(&["amboss-core", "figure"]);
    for (name, arguments) in [("clean build, debug", &["--lib"][..]), ("clean build, release", &["--lib", "--release"])]
    {
        eprintln!("footprint: {name}");
        match build(arguments) {
            Ok((time, _)) => table.row(vec![name.into(), table::duration(time)]),
            Err(why) => table.absent(name, &why),
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
            Err(why) => table.absent(&hello, &why),
        }
    }
    table.print("Footprint");
    Ok(())
}

fn build(arguments: &[&str]) -> Result<(Duration, Target)> {
    let target = Target(std::env::temp_dir().join(format!("amboss-bench-target-{}", std::process::id())));
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
    let output = command.output().map_err(|error| could_not_start(&command, &error))?;
    let time = start.elapsed();
    if output.status.success() {
        return Ok((time, target));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error")).take(2).collect();
    Err(format!("cargo failed: {}", errors.join("; ")))
}
