//! Building a cargo project.

mod ansi;
mod cargo_build;
mod cargo_project;
mod error;

pub use cargo_build::{Build, BuildOutcome, CancelBuild, Executable};
pub use cargo_project::CargoProject;
pub use error::{CargoError, CargoErrorKind};
