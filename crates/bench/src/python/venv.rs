//! The virtual environment of the peers. It is created once below the target folder, for each interpreter. Packages
//! that a run needs are installed there if they are missing, in the versions of `requirements.txt`.

use crate::process::spawn_error;
use crate::result::Result;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The versions of all packages.
pub const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A program that prints the path of its interpreter, and in a second line its name and version.
const IDENTIFY: &str = "import platform, sys\n\
                   print(sys.executable)\n\
                   print(platform.python_implementation(), platform.python_version() + getattr(sys, 'abiflags', ''))";

/// A virtual environment.
pub struct Venv {
    folder: PathBuf,
    /// The interpreter's name and version, such as `CPython 3.11.7`.
    pub python: String,
}

impl Venv {
    /// Opens the environment of this interpreter, or creates it.
    ///
    /// # Errors
    ///
    /// When there is no such interpreter, or it cannot create an environment.
    pub fn open(interpreter: &str) -> Result<Venv> {
        let identity = output(Command::new(interpreter).args(["-c", IDENTIFY]))?;
        let (executable, python) = identity
            .trim()
            .split_once('\n')
            .ok_or_else(|| format!("{interpreter} printed something unexpected: {identity}"))?;
        let mut hasher = DefaultHasher::new();
        executable.hash(&mut hasher);
        let name = format!("{}-{:08x}", python.replace(' ', "-").to_lowercase(), hasher.finish() as u32);
        let venv = Venv { folder: target()?.join("python-peers").join(name), python: python.into() };
        if output(&mut venv.pip(&["--version"])).is_err() {
            eprintln!("python: creating {}", venv.folder.display());
            output(Command::new(executable).args(["-m", "venv", "--clear"]).arg(&venv.folder))?;
        }
        let pins = venv.pins();
        std::fs::write(&pins, REQUIREMENTS).map_err(|error| format!("can't write {}: {error}", pins.display()))?;
        Ok(venv)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a program in the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// Installs a package of the requirements unless it is installed.
    ///
    /// # Errors
    ///
    /// A message with the error of pip.
    pub fn require(&self, package: &str) -> Result<()> {
        let pin = pin(package).ok_or_else(|| format!("{package} is not among the requirements"))?;
        if self.installed()?.iter().any(|installed| installed == pin) {
            return Ok(());
        }
        eprintln!("python: installing {pin}");
        match self.install(&[pin]) {
            Err(reason) if package == "bjoern" => {
                install_libev().map_err(|missing| format!("{missing} ({reason})"))?;
                self.install(&[pin])
            }
            result => result,
        }
    }

    /// Installs packages and their dependencies, in the versions of the requirements.
    ///
    /// # Errors
    ///
    /// A message with the error of pip.
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        let mut command = self.pip(&["install", "--quiet", "--constraint"]);
        output(command.arg(self.pins()).args(packages)).map(drop)
    }

    /// `name==version` of each installed package, in lower case.
    ///
    /// # Errors
    ///
    /// A message with the error of pip.
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

/// The target folder that this program is in.
///
/// # Errors
///
/// When the path of this program is unknown.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| format!("can't find this program's path: {error}"))?;
    // target/release/amboss-bench
    let target = program.ancestors().nth(2).map(Path::to_owned);
    target.ok_or_else(|| format!("{} is not in a target folder", program.display()))
}

/// Runs a command, and returns its standard output.
///
/// # Errors
///
/// When the command fails: a message with its first error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| spawn_error(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    // Compilers and pip print much else, such as their commands.
    let mut errors = stderr.lines().map(str::trim).filter(|line| line.to_lowercase().contains("error"));
    let line = errors.next().or(stderr.lines().next_back()).unwrap_or("no error message");
    Err(format!("{} failed: {line}", command.get_program().to_string_lossy()))
}

fn pin(package: &str) -> Option<&'static str> {
    REQUIREMENTS.lines().find(|line| line.split_once("==").is_some_and(|(name, _)| name == package))
}

/// Installs the headers of libev, which bjoern is compiled with. Only root can do that.
fn install_libev() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs the headers of libev; install them (Debian: apt-get install libev-dev)".into());
    }
    eprintln!("python: installing libev-dev");
    output(Command::new("apt-get").args(["install", "--yes", "libev-dev"])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_pinned_and_in_lower_case() {
        for line in REQUIREMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, version) = line.split_once("==").expect(line);
            assert_eq!(pin(name), Some(line));
            assert!(line == line.to_lowercase() && version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        }
    }

    #[test]
    fn the_message_about_a_failed_command_is_its_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo trying >&2; echo 'ERROR: no such thing' >&2; echo more >&2; exit 1"]);
        assert_eq!(output(&mut command), Err("sh failed: ERROR: no such thing".into()));
    }
}
