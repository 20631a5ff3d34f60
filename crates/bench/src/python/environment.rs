//! The virtual environment the peers live in: made once, under the target folder, one for each interpreter. What a run needs
//! and does not find is installed there, in the versions of `requirements.txt`.

use crate::child::could_not_start;
use crate::Result;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The versions everything is installed in.
pub const REQUIREMENTS: &str = include_str!("requirements.txt");

/// What says which interpreter it is: its path, then name and version.
const WHO: &str = "import platform, sys\n\
                   print(sys.executable)\n\
                   print(platform.python_implementation(), platform.python_version() + getattr(sys, 'abiflags', ''))";

/// A virtual environment.
pub struct Environment {
    folder: PathBuf,
    /// The interpreter's name and version, such as `CPython 3.11.7`.
    pub python: String,
}

impl Environment {
    /// The environment of this interpreter, made if there is none.
    ///
    /// # Errors
    ///
    /// When there is no such interpreter, or it makes no environment.
    pub fn make(interpreter: &str) -> Result<Environment> {
        let told = output(Command::new(interpreter).args(["-c", WHO]))?;
        let (executable, python) =
            told.trim().split_once('\n').ok_or_else(|| format!("{interpreter} says about itself: {told}"))?;
        let mut hasher = DefaultHasher::new();
        executable.hash(&mut hasher);
        let name = format!("{}-{:08x}", python.replace(' ', "-").to_lowercase(), hasher.finish() as u32);
        let environment = Environment { folder: target()?.join("python-peers").join(name), python: python.into() };
        if output(&mut environment.pip(&["--version"])).is_err() {
            eprintln!("python: making {}", environment.folder.display());
            output(Command::new(executable).args(["-m", "venv", "--clear"]).arg(&environment.folder))?;
        }
        let pins = environment.pins();
        std::fs::write(&pins, REQUIREMENTS).map_err(|error| format!("cannot write {}: {error}", pins.display()))?;
        Ok(environment)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// Installs a package of the requirements, unless it is there.
    ///
    /// # Errors
    ///
    /// What pip said, in a sentence.
    pub fn require(&self, package: &str) -> Result<()> {
        let pin = pin(package).ok_or_else(|| format!("{package} is not among the requirements"))?;
        if self.installed()?.iter().any(|installed| installed == pin) {
            return Ok(());
        }
        eprintln!("python: installing {pin}");
        match self.install(&[pin]) {
            Err(why) if package == "bjoern" => {
                libev().map_err(|missing| format!("{missing} ({why})"))?;
                self.install(&[pin])
            }
            done => done,
        }
    }

    /// Installs what pip takes, with whatever it needs in the versions of the requirements.
    ///
    /// # Errors
    ///
    /// What pip said, in a sentence.
    pub fn install(&self, what: &[&str]) -> Result<()> {
        let mut command = self.pip(&["install", "--quiet", "--constraint"]);
        output(command.arg(self.pins()).args(what)).map(drop)
    }

    /// `name==version` of all that is installed, in lower case.
    ///
    /// # Errors
    ///
    /// What pip said, in a sentence.
    pub fn installed(&self) -> Result<Vec<String>> {
        let list = output(&mut self.pip(&["list", "--format=freeze"]))?;
        Ok(list.lines().map(str::to_lowercase).collect())
    }

    /// A pip command of this environment.
    pub fn pip(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program("python"));
        command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]).args(arguments);
        command
    }

    fn pins(&self) -> PathBuf {
        self.folder.join("requirements.txt")
    }
}

/// The target folder this program was built into.
///
/// # Errors
///
/// When the program does not know where it is.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    // target/release/amboss-bench
    let target = program.ancestors().nth(2).map(Path::to_owned);
    target.ok_or_else(|| format!("{} is in no target folder", program.display()))
}

/// What a command prints.
///
/// # Errors
///
/// When it fails, with what it said about that.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| could_not_start(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Compilers and pip bury what matters in what they were asked to do.
    let mut errors = said.lines().map(str::trim).filter(|line| line.to_lowercase().contains("error"));
    let line = errors.next().or(said.lines().next_back()).unwrap_or("nothing");
    Err(format!("{} failed and said: {line}", command.get_program().to_string_lossy()))
}

fn pin(package: &str) -> Option<&'static str> {
    REQUIREMENTS.lines().find(|line| line.split_once("==").is_some_and(|(name, _)| name == package))
}

/// bjoern is compiled against libev, whose headers only root can install.
fn libev() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs libev's headers: install them (Debian: apt-get install libev-dev)".into());
    }
    eprintln!("python: installing libev-dev");
    output(Command::new("apt-get").args(["install", "--yes", "libev-dev"])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_pins_in_lower_case() {
        for line in REQUIREMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, version) = line.split_once("==").expect(line);
            assert_eq!(pin(name), Some(line));
            assert!(line == line.to_lowercase() && version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        }
    }

    #[test]
    fn a_failure_is_told_by_its_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo trying >&2; echo 'ERROR: no such thing' >&2; echo more >&2; exit 1"]);
        assert_eq!(output(&mut command), Err("sh failed and said: ERROR: no such thing".into()));
    }
}
