//! Configuration of the command. One table of settings (`table`) is the source of flags, environment variables, files,
//! help, the manual, completions and the reference.
//!
//! ```text
//!   flags ─────────────────┐
//!   environment ───────────┼──► layers: Resolved ──► options: RunOptions
//!   amboss.toml (file) ────┘    scope, conflicts
//! ```
//!
//! A value is text until it is stored in [`Config`](values::Config) by its setting, so that each source has the same
//! rules and the same messages.

#[cfg(all(unix, feature = "reload"))]
mod cargo_bin;
pub(crate) mod conflicts;
mod detect;
pub(crate) mod environment;
mod file;
pub(crate) mod given;
pub(crate) mod layers;
pub(crate) mod log_file;
pub(crate) mod nearest;
pub(crate) mod options;
pub(crate) mod parsers;
#[cfg(test)]
mod reference;
mod scope;
pub(crate) mod setting;
pub(crate) mod show;
mod slow_log;
mod split_log;
pub(crate) mod table;
pub(crate) mod target;
pub(crate) mod values;
pub(crate) mod wrap;

use std::path::{Path, PathBuf};

pub(crate) use conflicts::with_greenlets;
use detect::Serves;
use given::{Given, Source};
use layers::Resolved;

/// The flag with which only the command line counts.
pub(crate) const NO_CONFIG: &str = "no-config";

/// Resolves the configuration of this process from the command line, and, unless `isolated`, from its environment and a
/// file: the one that `named` is, or one of the current directory. `advice` explains keys of other servers.
///
/// # Errors
/// Messages: what can't be used, and what to do.
pub(crate) fn resolve(
    flags: Vec<Given>,
    named: Option<&Path>,
    isolated: bool,
    advice: file::Advice,
) -> Result<Resolved, Vec<String>> {
    // The command line names the file from the directory where it was written.
    let absolute = named.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let mut layers = vec![flags];
    if !isolated {
        let is_debugging = given::is_on("debug", &layers[0]);
        layers.extend(environment::read(std::env::vars_os(), is_debugging)?);
    }
    let is_elsewhere = change_directory(&layers)?;
    if !isolated {
        layers.push(file::read(absolute.as_deref().zip(named), advice)?);
        if !is_elsewhere {
            change_directory(&layers)?;
        }
    }
    let chosen = look_around(&mut layers)?;
    let mut resolved = Resolved::new(layers)?;
    resolved.chosen = chosen;
    withhold(&mut resolved, absolute);
    match conflicts::find(&resolved) {
        Some(message) => Err(vec![message]),
        None => Ok(resolved),
    }
}

/// The APP for which amboss looks what to serve. Other paths of folders are served as files, `./` among them.
const LOOK_AROUND: &str = ".";

/// Replaces [`LOOK_AROUND`] by what the current directory contains. Returns what was chosen, and why.
fn look_around(layers: &mut [Vec<Given>]) -> Result<Option<String>, Vec<String>> {
    let is_target = |given: &Given| given.setting.excludes == Some(table::TARGET);
    let Some(layer) = layers.iter_mut().find(|layer| layer.iter().any(is_target)) else { return Ok(None) };
    let is_this = |given: &Given| given.setting.name == "app" && given.values == [LOOK_AROUND];
    let Some(position) = layer.iter().position(is_this) else { return Ok(None) };
    let found = detect::find(Path::new(".")).map_err(|message| vec![message])?;
    let source = layer[position].source.clone();
    let mut set = |name: &str, value: String| {
        layer.extend(table::find(name).map(|setting| Given::new(setting, vec![value.into()], source.clone())));
    };
    match found.serves {
        Serves::Python(name) => set("app", name),
        Serves::Folder => set("app", "./".into()),
        Serves::Nothing => {}
        #[cfg(all(unix, feature = "reload"))]
        Serves::Program(path) => {
            set("program", path);
            set("reload", "true".into());
        }
    }
    layer.remove(position);
    Ok(Some(found.reason))
}

/// Tells this process, and those that it starts without them, the names of the files that configure it.
fn withhold(resolved: &mut Resolved, file: Option<PathBuf>) {
    let paths = file.iter().chain(&resolved.config.process.env_file);
    let names: Vec<String> = paths.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect();
    if names.is_empty() {
        return;
    }
    let values = names.iter().map(Into::into).collect();
    resolved.given.extend(table::find("withheld").map(|setting| Given::new(setting, values, Source::Flag)));
    resolved.config.site.withheld.extend(names);
}

/// Changes to the directory that the layers name, before the file of that directory is read and paths are used. Returns
/// whether they name one.
fn change_directory(layers: &[Vec<Given>]) -> Result<bool, Vec<String>> {
    let given = layers.iter().flatten().find(|given| given.setting.name == "chdir");
    let Some((given, [directory])) = given.map(|given| (given, &given.values[..])) else { return Ok(false) };
    std::env::set_current_dir(directory).map(|()| true).map_err(|error| {
        let (spelling, directory) = (given.spelling(), directory.to_string_lossy());
        vec![format!("can't change to the directory '{directory}' of {spelling}: {error}")]
    })
}
