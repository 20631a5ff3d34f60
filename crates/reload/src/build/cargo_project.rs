//! A cargo project: where its sources are, and how it is built.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Package};

use super::cargo_build::Build;
use super::error::CargoError;
use crate::process::ensure_children_are_reapable;
use crate::watch::ScopeOptions;

/// The package or workspace that a folder belongs to.
///
/// Cargo is the program in the environment variable `CARGO`, which `cargo run` sets, or else `cargo`.
#[derive(Clone, Debug)]
pub struct CargoProject {
    folder: PathBuf,
    workspace: PathBuf,
    target: PathBuf,
    /// The folders of all members of the workspace, and of their path dependencies.
    packages: BTreeSet<PathBuf>,
}

impl CargoProject {
    /// Finds the nearest `Cargo.toml` in a folder or above it, and asks cargo about the project.
    ///
    /// # Errors
    /// There is no `Cargo.toml`, cargo cannot be run, or it rejects the manifest.
    pub fn find(from: &Path) -> Result<CargoProject, CargoError> {
        let from = std::path::absolute(from).unwrap_or_else(|_| from.into());
        let manifest = from.ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| path.is_file());
        let manifest = manifest.ok_or_else(|| CargoError::no_manifest(&from))?;
        let metadata = metadata(&manifest)?;
        let mut project = CargoProject {
            folder: manifest.parent().unwrap_or(&manifest).to_path_buf(),
            workspace: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
            packages: BTreeSet::new(),
        };
        let mut path_dependencies = Vec::new();
        for package in &metadata.packages {
            project.add_package(package, &mut path_dependencies);
        }
        // Path dependencies outside the workspace may have path dependencies of their own.
        while let Some(folder) = path_dependencies.pop() {
            if !project.packages.insert(folder.clone()) {
                continue;
            }
            let manifest = folder.join("Cargo.toml");
            let Ok(metadata) = self::metadata(&manifest) else { continue };
            if let Some(package) = metadata.packages.iter().find(|package| package.manifest_path == manifest) {
                project.add_package(package, &mut path_dependencies);
            }
        }
        Ok(project)
    }

    fn add_package(&mut self, package: &Package, path_dependencies: &mut Vec<PathBuf>) {
        self.packages.extend(package.manifest_path.parent().map(PathBuf::from));
        let paths = package.dependencies.iter().filter_map(|dependency| dependency.path.as_ref());
        path_dependencies.extend(paths.map(PathBuf::from));
    }

    /// What to watch: everything that is not ignored in the folders of the workspace's packages and their path
    /// dependencies, and the workspace's manifest, lock file, toolchain and cargo configuration, whether or not git
    /// ignores them. The target folder is never entered.
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

    /// Starts `cargo build` with these arguments (`--release`, `--bin`, `--features`, …) in the folder of the
    /// `Cargo.toml` that was found. Cargo's output goes to stderr as it appears, in colour if that is a terminal and
    /// `NO_COLOR` is unset or empty.
    ///
    /// # Errors
    /// Cargo cannot be run.
    pub fn build<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Build, CargoError> {
        let mut command = cargo();
        command.arg("build").arg("--message-format=json-render-diagnostics").args(arguments).current_dir(&self.folder);
        Build::start(command).map_err(|error| cargo_unavailable(&error))
    }
}

fn cargo() -> Command {
    let program = env::var_os("CARGO").filter(|program| !program.is_empty());
    Command::new(program.unwrap_or_else(|| OsString::from("cargo")))
}

fn cargo_unavailable(error: &io::Error) -> CargoError {
    CargoError::cargo_unavailable(&cargo().get_program().to_string_lossy(), error)
}

fn metadata(manifest: &Path) -> Result<Metadata, CargoError> {
    ensure_children_are_reapable().map_err(|error| cargo_unavailable(&error))?;
    let mut command = MetadataCommand::new();
    command.cargo_path(cargo().get_program()).manifest_path(manifest).no_deps();
    // Cargo takes toolchain and configuration from the current folder.
    command.current_dir(manifest.parent().unwrap_or(manifest));
    command.exec().map_err(|error| match error {
        cargo_metadata::Error::Io(error) => cargo_unavailable(&error),
        cargo_metadata::Error::CargoMetadata { stderr } => CargoError::invalid_manifest(manifest, &stderr),
        error => CargoError::invalid_manifest(manifest, &error.to_string()),
    })
}
