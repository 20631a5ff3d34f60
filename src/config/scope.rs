//! Whether a setting has an effect on what is served. A flag without effect is an error. A setting of a file or of the
//! environment without effect is ignored, so that one file serves an application and, beside it, a folder.

use super::given::{is_on, Given};
use super::setting::Scope;
use super::target;
use super::values::Config;

/// Checks that a setting has an effect.
///
/// # Errors
/// Why it has none, and what to do.
pub(super) fn check(member: &Given, config: &Config, given: &[Given]) -> Result<(), String> {
    let setting = member.setting;
    let flag = setting.flag();
    if member.is_off() {
        return Ok(());
    }
    let has_program = !config.program.is_empty();
    if has_program && setting.name == "debug" {
        return Err(
            "--debug explains failures of amboss's own server; use --reload --live, and the debugger of PROGRAM \
                    itself"
                .into(),
        );
    }
    let uses_amboss = uses_amboss(config);
    let own_server = match setting.scope {
        Scope::OwnServer | Scope::Files | Scope::Folder => !has_program,
        Scope::Amboss => !has_program || uses_amboss,
        Scope::Any | Scope::Python => true,
    };
    if !own_server {
        return Err(format!("{flag} is for amboss's own server; leave it out, and configure PROGRAM itself"));
    }
    let serves = match setting.scope {
        Scope::Files => target::has_files(config),
        Scope::Folder => target::has_folder(config),
        _ => true,
    };
    if !serves {
        return Err(format!("{flag} is for a folder of files; name one, as in amboss ./site"));
    }
    if setting.scope == Scope::Python && !target::needs_python(config) {
        return Err(format!("{flag} is for a Python application; name one, as in amboss shop:app"));
    }
    if !setting.needs.is_empty() && !setting.needs.iter().any(|name| is_on(name, given)) {
        let usages: Vec<String> = setting
            .needs
            .iter()
            .filter_map(|name| super::table::find(name))
            .map(super::table::Setting::usage)
            .collect();
        return Err(format!("{flag} needs {}", usages.join(" or ")));
    }
    Ok(())
}

/// Whether a PROGRAM uses amboss: one that reports its files does.
fn uses_amboss(config: &Config) -> bool {
    #[cfg(all(unix, feature = "reload"))]
    return config.reload.watch_reported;
    #[cfg(not(all(unix, feature = "reload")))]
    {
        let _ = config;
        false
    }
}
