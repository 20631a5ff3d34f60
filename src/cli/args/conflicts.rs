//! Conflicts between arguments for which clap's own message would be worse. All others are declared with the arguments,
//! as groups and with `conflicts_with` and `requires`.
//!
//! The messages here give a reason or an alternative, which clap's cannot. If `--timeout` required APP and a PROGRAM was
//! given, clap's usage line would ask for both, and for APP with a PROGRAM it would show both as well, although they
//! exclude each other. A conflict that depends on a third flag, as that of the TLS flags, can't be declared at all.

use super::serve::ServeArgs;

/// Returns the message for the first conflict, if there is one.
pub(super) fn find(args: &ServeArgs) -> Option<String> {
    #[cfg(all(unix, feature = "reload"))]
    if let Some(message) = with_program(args) {
        return Some(message);
    }
    if let Some(flag) = args.site.without_folder(args.folder().is_some()) {
        return Some(format!("{flag} is for a folder of files; name one, as in amboss ./site"));
    }
    #[cfg(all(unix, feature = "reload"))]
    if args.processes.is_some() && !args.site.programs().is_empty() {
        return Some("--processes would start the program of --vhost for each request; leave out one of them".into());
    }
    if !args.needs_python() {
        let flag = args.app.given();
        #[cfg(all(unix, feature = "reload"))]
        let flag = flag.or_else(|| args.reload.keeps_spare().then_some("--spare"));
        let flag = flag?;
        return Some(format!("{flag} is for a Python application; name one, as in amboss shop:app"));
    }
    #[cfg(all(unix, feature = "reload"))]
    if args.app.is_preloading() && args.reload.is_reloading() {
        // `--debug` includes `--reload`.
        let flag = if args.debug.is_on() { "--debug" } else { "--reload" };
        return Some(format!(
            "--preload forks workers from code that was imported once, so {flag} would serve old code; leave out one of \
             them"
        ));
    }
    if args.app.has_connections_for_threads() {
        return Some("--worker-connections is for greenlets; for threads, use --threads".into());
    }
    if let Some(message) = args.app.greenlets_of().and_then(|_| with_greenlets(args)) {
        return Some(message);
    }
    let message = "--processes would fork the interpreter for each request; use --workers N instead";
    args.processes.is_some().then(|| message.into())
}

/// Returns the message for a flag that excludes requests in greenlets, whether a flag asks for them or the application.
pub(super) fn with_greenlets(args: &ServeArgs) -> Option<String> {
    if args.threads.is_some() {
        return Some("--threads is for threads, and requests run in greenlets here; use --worker-connections".into());
    }
    if args.single {
        return Some(
            "--single runs one request at a time, and greenlets are for many; use --worker-connections 1".into(),
        );
    }
    if args.processes.is_some() {
        return Some("--processes runs each request in a process, and greenlets share one; use --workers".into());
    }
    #[cfg(all(unix, feature = "reload"))]
    if args.app.is_preloading() {
        return Some(
            "--preload forks workers from one process, and greenlets begin in each worker; leave it out".into(),
        );
    }
    #[cfg(all(unix, feature = "reload"))]
    if args.reload.keeps_spare() {
        return Some("--spare imports libraries before greenlets replace parts of them; leave it out".into());
    }
    let flag = args.site.blocking_flag()?;
    Some(format!("{flag} waits for another process, and all greenlets with it; serve that by another amboss"))
}

/// Returns the message for a conflict with a PROGRAM.
#[cfg(all(unix, feature = "reload"))]
fn with_program(args: &ServeArgs) -> Option<String> {
    if args.program.is_empty() {
        return None;
    }
    if args.target.is_some() {
        return Some("APP and PROGRAM can't both be served; leave out one of them".into());
    }
    if args.debug.is_on() {
        return Some(
            "--debug explains failures of amboss's own server; use --reload --live, and the debugger of PROGRAM itself"
                .into(),
        );
    }
    let flag = own_server_flag(args)?;
    Some(format!("{flag} is for amboss's own server; leave it out, and configure PROGRAM itself"))
}

/// Returns a flag that would have no effect on the server of a PROGRAM.
#[cfg(all(unix, feature = "reload"))]
fn own_server_flag(args: &ServeArgs) -> Option<&'static str> {
    #[cfg(feature = "tls")]
    let tls = args.tls.given();
    #[cfg(not(feature = "tls"))]
    let tls: [(bool, &'static str); 0] = [];
    // A program that reports its files uses amboss, so these flags apply to it and to its error page.
    let uses_amboss = args.reload.is_watching_reported();
    let listening = tls.into_iter().chain(args.proxies.given()).filter(|_| !uses_amboss);
    let site = args.site.given().into_iter().filter(|(_, flag)| !uses_amboss || *flag != "--allowed-host");
    let flags = [
        (args.processes.is_some(), "--processes"),
        (args.threads.is_some(), "--threads"),
        (args.single, "--single"),
        (args.body_mode.is_some(), "--body-mode"),
        (args.body_directory.is_some(), "--body-directory"),
        (args.log_format.is_some(), "--log-format"),
        (args.log_file.is_some(), "--log-file"),
    ];
    flags.into_iter().chain(listening).chain(site).find(|(given, _)| *given).map(|(_, flag)| flag)
}
