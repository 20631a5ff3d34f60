//! A cargo project: where its sources are, and building it.

mod build;

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub use build::{Build, Built, CancelBuild, Executable, Outcome};

use crate::scope::ScopeOptions;

/// The package, or the workspace, that a folder belongs to.
///
/// Cargo is the program in the environment variable `CARGO` (which `cargo run` sets), or `cargo`.
#[derive(Clone, Debug)]
pub struct CargoProject {
    folder: PathBuf,
    workspace: PathBuf,
    target: PathBuf,
    packages: BTreeSet<PathBuf>,
    default_run: Option<String>,
}

impl CargoProject {
    /// Finds the nearest `Cargo.toml` in a folder and those above it, and asks cargo about it.
    ///
    /// # Errors
    /// There is none, cargo can't be run, or it refuses the manifest.
    pub fn find(from: &Path) -> Result<CargoProject, CargoError> {
        let from = std::path::absolute(from).unwrap_or_else(|_| from.into());
        let manifest = from.ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| path.is_file());
        let Some(manifest) = manifest else {
            let sentence = format!(
                "There is no Cargo.toml in '{}' or a folder above it; start in a cargo project, or make one with `cargo \
                 init`.",
                from.display()
            );
            return Err(CargoError { kind: CargoErrorKind::NoManifest, sentence });
        };
        let metadata = metadata(&manifest)?;
        let text = |value: &Value| value.as_str().map(PathBuf::from);
        let folder = manifest.parent().unwrap_or(&manifest).to_path_buf();
        let mut project = CargoProject {
            workspace: text(&metadata["workspace_root"]).unwrap_or_else(|| folder.clone()),
            target: text(&metadata["target_directory"]).unwrap_or_else(|| folder.join("target")),
            packages: BTreeSet::new(),
            default_run: None,
            folder,
        };
        let members = list(&metadata["packages"]);
        let this = members.iter().find(|package| manifest_of(package).as_deref() == Some(&manifest));
        project.default_run = this.and_then(|package| package["default_run"].as_str()).map(str::to_string);
        let mut outside = Vec::new();
        for package in members {
            project.add(package, &mut outside);
        }
        // Path dependencies outside the workspace have dependencies of their own.
        while let Some(folder) = outside.pop() {
            if !project.packages.insert(folder.clone()) {
                continue;
            }
            let manifest = folder.join("Cargo.toml");
            let Ok(metadata) = self::metadata(&manifest) else { continue };
            let packages = list(&metadata["packages"]);
            let this = packages.iter().find(|package| manifest_of(package).as_deref() == Some(&manifest));
            if let Some(package) = this {
                project.add(package, &mut outside);
            }
        }
        Ok(project)
    }

    fn add(&mut self, package: &Value, path_dependencies: &mut Vec<PathBuf>) {
        self.packages.extend(manifest_of(package).and_then(|manifest| manifest.parent().map(PathBuf::from)));
        let paths = list(&package["dependencies"]).iter().filter_map(|dependency| dependency["path"].as_str());
        path_dependencies.extend(paths.map(PathBuf::from));
    }

    /// The folder of the `Cargo.toml` that was found.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folders of all members of the workspace, and of all that they depend on by path.
    pub fn packages(&self) -> impl Iterator<Item = &Path> {
        self.packages.iter().map(PathBuf::as_path)
    }

    /// What to watch: everything in the folders of [`packages`](CargoProject::packages) that isn't ignored, and what the
    /// workspace and cargo's own configuration say, whether or not git ignores it. Without the folder of what is built.
    pub fn scope(&self) -> ScopeOptions {
        let files = ["Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml", ".cargo/config.toml"];
        let files = files.iter().map(|name| self.workspace.join(name));
        ScopeOptions {
            roots: self.packages.iter().filter(|folder| folder.is_dir()).cloned().collect(),
            optional_files: files.filter(|file| file.parent().is_some_and(Path::is_dir)).collect(),
            ignored_folders: vec![self.target.clone()],
            ..ScopeOptions::default()
        }
    }

    /// Starts `cargo build` with these arguments (`--release`, `--bin`, `--features`, …) in the
    /// [`folder`](CargoProject::folder). What cargo prints goes to standard error as it comes: in colour if that is a
    /// terminal and `NO_COLOR` has no value.
    ///
    /// # Errors
    /// Cargo can't be run.
    pub fn build<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Build, CargoError> {
        let mut command = cargo();
        command.arg("build").arg("--message-format=json-render-diagnostics").args(arguments).current_dir(&self.folder);
        Build::start(command, self.default_run.clone()).map_err(|error| CargoError::not_run(&error))
    }
}

fn cargo() -> Command {
    let program = env::var_os("CARGO").filter(|program| !program.is_empty());
    Command::new(program.unwrap_or_else(|| OsString::from("cargo")))
}

fn metadata(manifest: &Path) -> Result<Value, CargoError> {
    let mut command = cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    // The folder decides on toolchain and configuration.
    command.current_dir(manifest.parent().unwrap_or(manifest)).stdin(Stdio::null());
    let output = crate::sigchld::ensure_collectable().and_then(|()| command.output());
    let output = output.map_err(|error| CargoError::not_run(&error))?;
    let refused = |reason: &str| CargoError {
        kind: CargoErrorKind::Refused,
        sentence: format!("Cargo can't read '{}'; mend it:\n{}", manifest.display(), reason.trim_end()),
    };
    if !output.status.success() {
        return Err(refused(&String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| refused(&error.to_string()))
}

fn manifest_of(package: &Value) -> Option<PathBuf> {
    package["manifest_path"].as_str().map(PathBuf::from)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Why a project can't be found or built. `Display` is a sentence that says what to do.
#[derive(Clone, Debug)]
pub struct CargoError {
    kind: CargoErrorKind,
    sentence: String,
}

/// What kind of [`CargoError`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CargoErrorKind {
    /// No `Cargo.toml` in the folder or above it.
    NoManifest,
    /// Cargo can't be run.
    NotRun,
    /// Cargo doesn't understand the `Cargo.toml`.
    Refused,
    /// The build leaves open which program to run.
    Ambiguous,
}

impl CargoError {
    fn not_run(error: &std::io::Error) -> CargoError {
        let program = cargo().get_program().to_string_lossy().into_owned();
        let sentence = format!("'{program}' can't be run ({error}); install Rust, or set CARGO to the program's path.");
        CargoError { kind: CargoErrorKind::NotRun, sentence }
    }

    fn ambiguous(sentence: String) -> CargoError {
        CargoError { kind: CargoErrorKind::Ambiguous, sentence }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> CargoErrorKind {
        self.kind
    }
}

impl fmt::Display for CargoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for CargoError {}
