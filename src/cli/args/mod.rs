//! The command line: flags and subcommands (this file and `serve`, with the groups `app`, `debug`, `proxies`, `site`,
//! `tls` and `reload`), which of them exclude each other (`conflicts`), and the server options that follow from them
//! (`options`).

pub(super) mod app;
mod conflicts;
mod debug;
mod options;
mod proxies;
#[cfg(all(unix, feature = "reload"))]
mod reload;
mod seconds;
mod serve;
pub(super) mod site;
#[cfg(feature = "tls")]
mod tls;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

#[cfg(feature = "tls")]
use super::devcert::Devcert;
pub(super) use serve::ServeArgs;

/// The hidden subcommand that serves the error page. The supervisor's own arguments follow it, so that the page is
/// served as the application would be.
pub(super) const ERROR_PAGE: &str = "__page";

/// The hidden subcommand that replaces itself with another program, as a child of a supervisor.
#[cfg(all(unix, feature = "reload"))]
pub(super) const EXEC_AS_CHILD: &str = "__child";

/// Serves a Python WSGI application, a folder of files, another program, or the built-in development application, which
/// shows what the server passes to an application
#[derive(Debug, Parser)]
#[command(
    name = "amboss",
    bin_name = "amboss",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Signals: TERM and INT (CTRL+C) stop the server when the running requests are\n\
                  done; a second INT stops it at once. HUP reloads code and certificates under a\n\
                  supervisor (--reload, --debug, --workers, --timeout, --max-requests, --preload or\n\
                  PROGRAM); without one it reopens the log and reloads the certificate, and the\n\
                  code stays as it is. USR1 reopens the log. TTIN and TTOU add or remove a\n\
                  worker.\n\
                  Exit codes: 0 stopped as requested, 1 could not serve, 2 invalid command line,\n\
                  130 stopped at once by a second CTRL+C.\n\
                  Environment: NO_COLOR and CLICOLOR_FORCE switch colours off and on; LISTEN_FDS\n\
                  (systemd) passes sockets if neither --bind nor --port is given;\n\
                  FORWARDED_ALLOW_IPS is the default of --forwarded-allow-ips."
)]
// Without `devcert` all subcommands are hidden, and `help` would list none.
#[cfg_attr(not(feature = "tls"), command(disable_help_subcommand = true))]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) subcommand: Option<Subcommand>,

    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

/// The subcommands, two of them hidden.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Create a certificate that browsers accept once they trust this machine's own certificate authority
    #[cfg(feature = "tls")]
    Devcert(Devcert),

    /// Serve the error page, as a child of a supervisor
    #[command(name = ERROR_PAGE, hide = true)]
    ErrorPage(Box<ServeArgs>),

    /// Replace this process with another program, as a child of a supervisor
    #[cfg(all(unix, feature = "reload"))]
    #[command(name = EXEC_AS_CHILD, hide = true)]
    ExecAsChild {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
        argv: Vec<OsString>,
    },
}

impl Cli {
    /// Parses the command line and checks that its flags go together.
    ///
    /// # Errors
    /// What is wrong with the command line. The texts for `--help` and `--version` are returned as errors as well.
    pub(super) fn parse_checked(argv: &[OsString]) -> Result<Cli, clap::Error> {
        let mut cli = Cli::try_parse_from(argv)?;
        cli.serve.expand_debug();
        if let Some(Subcommand::ErrorPage(serve)) = &mut cli.subcommand {
            serve.expand_debug();
        }
        match conflicts::find(&cli.serve) {
            Some(message) => Err(Cli::command().error(ErrorKind::ArgumentConflict, message)),
            None => Ok(cli),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[cfg(all(unix, feature = "reload"))]
    #[test]
    fn the_exec_subcommand_passes_every_argument_on() {
        let program = ["sh", "-c", "--", "--help", "-x", "--version", "--bind=1"];
        let argv = ["amboss", EXEC_AS_CHILD].iter().chain(&program).map(OsString::from);
        let cli = Cli::try_parse_from(argv).unwrap();
        let Some(Subcommand::ExecAsChild { argv }) = cli.subcommand else { panic!("{cli:?}") };
        assert_eq!(argv, program);
    }
}
