//! Building a cargo project, and the page that shows why a build or a start has failed.

mod ansi;
mod cargo_build;
mod cargo_project;
mod error;
mod error_page;

pub use cargo_build::{Build, BuildOutcome, CancelBuild, Executable};
pub use cargo_project::CargoProject;
pub use error::{CargoError, CargoErrorKind};
pub use error_page::{error_page, error_text};
