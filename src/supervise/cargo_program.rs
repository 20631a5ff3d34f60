//! Finding the cargo project of a program, and building the program with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use amboss_reload::{Build, CargoError, CargoProject, Executable, ScopeOptions};

/// A program that is built by a cargo project.
pub(super) struct CargoProgram {
    project: CargoProject,
    arguments: Vec<OsString>,
    /// The name of the executable without its suffix.
    name: String,
}

impl CargoProgram {
    /// Finds the project of an executable `target/<profile>/[examples/]<name>`.
    pub(super) fn of(executable: &Path) -> Option<CargoProgram> {
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
        // A target directory outside of any project may belong to the project of the current directory.
        let here = std::env::current_dir().ok();
        let candidates = [target.parent().map(Path::to_owned), here];
        let projects = candidates.into_iter().flatten().filter_map(|place| CargoProject::find(&place).ok());
        let builds_there =
            |project: &CargoProject| project.scope().ignored_folders.iter().any(|folder| is_same(folder, target));
        projects.into_iter().find(builds_there).map(|project| CargoProgram { project, arguments, name })
    }

    /// Returns which files belong to the project.
    pub(super) fn scope(&self) -> ScopeOptions {
        self.project.scope()
    }

    /// Starts to build the program.
    pub(super) fn build(&self) -> Result<Build, CargoError> {
        self.project.build(&self.arguments)
    }

    /// Returns the path of the program among the executables that cargo has built.
    pub(super) fn find_in(&self, built: &[Executable]) -> Option<PathBuf> {
        let executable = built.iter().find(|executable| executable.name == self.name)?;
        Some(executable.path.clone())
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(one) == canonical(other)
}
