//! What the process that the user starts does before anything else: it sets the umask, the environment of the
//! application, and its own name.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use super::runner::Runner;
use crate::config::parsers::is_variable;
use crate::config::values::ProcessConfig;

/// Prepares this process.
///
/// # Errors
/// A message: a file can't be read.
pub(super) fn prepare(config: &ProcessConfig, runner: &mut dyn Runner) -> Result<(), String> {
    #[cfg(unix)]
    if let Some(mode) = config.umask {
        // The type of the number differs between systems.
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mode as _));
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = &config.name {
        set_name(name);
    }
    let mut variables = from_files(config)?;
    variables.extend(config.env.iter().cloned());
    for (name, value) in &variables {
        if name.starts_with("AMBOSS_") {
            say!(
                "amboss: {name} of --env or --env-file is for the application, and no setting of amboss; set it before \
                 amboss starts, or write it in amboss.toml"
            );
        }
        runner.set_variable(name, value);
    }
    Ok(())
}

/// Returns the variables of the files that are not set in the environment. Of two with one name, the first counts.
fn from_files(config: &ProcessConfig) -> Result<Vec<(String, String)>, String> {
    let mut known: HashSet<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    let mut variables = Vec::new();
    for path in &config.env_file {
        let shown = path.display();
        let unusable = |error: dotenvy::Error| match error {
            // The line may contain a secret, so only its number is shown.
            dotenvy::Error::LineParse(line, _) => {
                let number = line_number(path, &line).map(|number| format!(", line {number}")).unwrap_or_default();
                format!("--env-file {shown}{number}: write NAME=VALUE, with quotes around spaces")
            }
            error => format!("can't read --env-file {shown}: {error}"),
        };
        for variable in dotenvy::from_path_iter(path).map_err(unusable)? {
            let (name, value) = variable.map_err(unusable)?;
            if !is_variable(&name, &value) {
                return Err(format!("--env-file {shown}: the variable {name:?} contains a NUL byte; remove it"));
            }
            if known.insert(OsString::from(&name)) {
                variables.push((name, value));
            }
        }
    }
    Ok(variables)
}

/// Returns the number of a line of a file, from 1.
fn line_number(path: &Path, line: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().position(|other| other.trim().ends_with(line.trim())).map(|index| index + 1)
}

/// Sets the name that `ps -o comm`, `top` and `pgrep` show. Linux keeps 15 bytes of it.
#[cfg(target_os = "linux")]
fn set_name(name: &str) {
    let end = (0..=name.len().min(15)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    if let Ok(name) = std::ffi::CString::new(&name[..end]) {
        let _ = rustix::thread::set_name(&name);
    }
}
