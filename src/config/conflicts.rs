//! Contradictions between settings, each with its reason or an alternative. Settings of which only one can be in effect
//! are groups in the table, and settings without effect are found by `scope`.

use super::layers::Resolved;
use super::target;
use super::values::Config;

/// A contradiction: the message, and the settings that it is about.
type Conflict = (String, &'static [&'static str]);

/// Returns the message for the first contradiction, if there is one.
pub(super) fn find(resolved: &Resolved) -> Option<String> {
    let (message, settings) = conflict(&resolved.config)?;
    Some(resolved.explain(&message, settings))
}

/// Returns the message for the first contradiction, without the sources of the settings.
pub(crate) fn message(resolved: &Resolved) -> Option<String> {
    conflict(&resolved.config).map(|(message, _)| message)
}

/// Returns the message for a setting that excludes requests in greenlets, whether a setting asks for them or the
/// application.
pub(crate) fn with_greenlets(resolved: &Resolved) -> Option<String> {
    let (message, settings) = greenlet_conflict(&resolved.config)?;
    Some(resolved.explain(&message, settings))
}

fn conflict(config: &Config) -> Option<Conflict> {
    #[cfg(feature = "tls")]
    if config.tls.http_and_https && config.tls.client_ca.is_some() && !config.tls.client_optional {
        let message =
            "--http-and-https would serve clients without the certificate that --client-ca asks for; leave out one \
                       of them, or add --client-verify optional";
        return Some((message.into(), &["http-and-https", "client-ca"]));
    }
    #[cfg(all(unix, feature = "reload"))]
    if config.processes.is_some() && !target::programs(config).is_empty() {
        let message = "--processes would start the program of --vhost for each request; leave out one of them";
        return Some((message.into(), &["processes", "vhost"]));
    }
    if !target::needs_python(config) {
        return None;
    }
    #[cfg(all(unix, feature = "reload"))]
    if config.python.preload && config.reload.reload {
        // `--debug` includes `--reload`.
        let flag = if config.debug { "--debug" } else { "--reload" };
        let message = format!(
            "--preload forks workers from code that was imported once, so {flag} would serve old code; leave out one of \
             them"
        );
        return Some((message, &["preload", "reload", "debug"]));
    }
    let class = config.python.worker_class;
    if config.python.worker_connections.is_some() && class.is_some_and(|class| class.library().is_none()) {
        let message = "--worker-connections is for greenlets; for threads, use --threads";
        return Some((message.into(), &["worker-connections", "worker-class"]));
    }
    if class.is_some_and(|class| class.library().is_some()) {
        if let Some(conflict) = greenlet_conflict(config) {
            return Some(conflict);
        }
    }
    let message = "--processes would fork the interpreter for each request; use --workers N instead";
    config.processes.is_some().then(|| (message.into(), &["processes"][..]))
}

fn greenlet_conflict(config: &Config) -> Option<Conflict> {
    if config.threads.is_some() {
        let message = "--threads is for threads, and requests run in greenlets here; use --worker-connections";
        return Some((message.into(), &["threads", "worker-class"]));
    }
    if config.single {
        let message = "--single runs one request at a time, and greenlets are for many; use --worker-connections 1";
        return Some((message.into(), &["single", "worker-class"]));
    }
    if config.processes.is_some() {
        let message = "--processes runs each request in a process, and greenlets share one; use --workers";
        return Some((message.into(), &["processes", "worker-class"]));
    }
    #[cfg(all(unix, feature = "reload"))]
    if config.python.preload {
        let message = "--preload forks workers from one process, and greenlets begin in each worker; leave it out";
        return Some((message.into(), &["preload", "worker-class"]));
    }
    #[cfg(all(unix, feature = "reload"))]
    if config.reload.spare {
        let message = "--spare imports libraries before greenlets replace parts of them; leave it out";
        return Some((message.into(), &["spare", "worker-class"]));
    }
    let (flag, name) = target::blocking(config)?;
    let message = format!("{flag} waits for another process, and all greenlets with it; serve that by another amboss");
    Some((message, if name == "cgi" { &["cgi", "worker-class"] } else { &["vhost", "worker-class"] }))
}
