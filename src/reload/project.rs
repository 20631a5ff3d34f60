//! What a program is built from: the cargo project whose target folder it lies in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use amboss_reload::{CargoProject, Executable, ScopeOptions};

/// A program, and how it is built anew.
pub(super) struct Project {
    cargo: CargoProject,
    arguments: Vec<OsString>,
    /// The name of the executable without its suffix.
    name: String,
}

impl Project {
    /// The project that builds this executable: `target/<profile>/[examples/]<name>` of a cargo project.
    pub(super) fn of(executable: &Path) -> Option<Project> {
        let executable = std::path::absolute(executable).ok()?;
        let name = executable.file_stem()?.to_str()?.to_owned();
        let mut folder = executable.parent()?;
        let mut arguments: Vec<OsString> = Vec::new();
        if folder.file_name()? == "examples" {
            arguments.extend(["--example".into(), name.clone().into()]);
            folder = folder.parent()?;
        } else {
            arguments.extend(["--bin".into(), name.clone().into()]);
        }
        match folder.file_name()?.to_str()? {
            "debug" => {}
            "release" => arguments.push("--release".into()),
            profile => arguments.extend(["--profile".into(), profile.into()]),
        }
        let target = folder.parent()?;
        // A target folder with a place of its own belongs to the project that is worked on.
        let here = std::env::current_dir().ok();
        let places = [target.parent().map(Path::to_owned), here];
        let found = places.into_iter().flatten().filter_map(|place| CargoProject::find(&place).ok());
        let is_its = |cargo: &CargoProject| cargo.scope().ignored_folders.iter().any(|folder| same(folder, target));
        found.into_iter().find(is_its).map(|cargo| Project { cargo, arguments, name })
    }

    pub(super) fn scope(&self) -> ScopeOptions {
        self.cargo.scope()
    }

    pub(super) fn build(&self) -> Result<amboss_reload::Build, amboss_reload::CargoError> {
        self.cargo.build(&self.arguments)
    }

    /// Where the program lies.
    pub(super) fn executable(&self, built: &[Executable]) -> Option<PathBuf> {
        let executable = built.iter().find(|executable| executable.name == self.name)?;
        Some(executable.path.clone())
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}
