//! The command line: flags from the table of settings, and subcommands.

use std::borrow::Borrow;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::Shell;

#[cfg(feature = "tls")]
use super::devcert::Devcert;
use crate::config::given::{Given, Source};
use crate::config::layers::default_text;
use crate::config::setting::{DefaultValue, Kind};
use crate::config::table::{Setting, Topic, TOPICS};
use crate::config::{self, NO_CONFIG};
use crate::ops::migrate;

/// The hidden subcommand that serves the error page. The supervisor's own arguments follow it, so that the page is
/// served as the application would be.
pub(super) const ERROR_PAGE: &str = "__page";

/// The hidden subcommand that replaces itself with another program, as a child of a supervisor.
#[cfg(all(unix, feature = "reload"))]
pub(super) const EXEC_AS_CHILD: &str = "__child";

/// What the command is asked to do.
#[derive(Debug)]
pub(super) enum Task {
    /// To serve, or to show the configuration.
    Serve(Serve),
    /// To serve the error page, as a child of a supervisor.
    ErrorPage(Serve),
    /// To replace this process with another program, as a child of a supervisor.
    #[cfg(all(unix, feature = "reload"))]
    ExecAsChild(Vec<OsString>),
    /// To create a certificate.
    #[cfg(feature = "tls")]
    Devcert(Devcert),
    /// To print the configuration for one of another server.
    Migrate(Migrate),
    /// To print the completions of a shell.
    Completions(Shell),
    /// To print the manual page.
    Man,
}

/// The configuration of another server.
#[derive(Debug)]
pub(super) enum Migrate {
    /// A command line.
    Gunicorn(Vec<String>),
    /// A command line.
    Granian(Vec<String>),
    /// A file.
    Uwsgi(PathBuf),
}

/// The flags of a server.
#[derive(Debug)]
pub(super) struct Serve {
    /// The settings on the command line.
    pub(super) given: Vec<Given>,
    /// The configuration file that the command line names.
    pub(super) file: Option<PathBuf>,
    /// Whether only the command line counts.
    pub(super) isolated: bool,
    /// What to do with the configuration.
    pub(super) action: Action,
}

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To serve with it.
    Serve,
    /// To check it.
    Check,
    /// To print it.
    Print,
}

const AFTER_HELP: &str = "\
Precedence: a flag counts more than the environment variable AMBOSS_ and its name (AMBOSS_THREADS=8), that more than a \
key of amboss.toml, or of [tool.amboss] in pyproject.toml, in the current directory (threads = 8; [timeouts] and [limits] \
have tables of their own), and that more than the default. A switch has a form that switches it off: --no-reload. \
--print-config shows each value and its source.\n\n\
Signals: TERM and INT (CTRL+C) stop the server when the running requests are done; a second INT stops it at once. HUP \
reloads code and certificates under a supervisor (--reload, --debug, --workers, --timeout, --max-requests, --preload or \
PROGRAM); without one it reopens the log and reloads the certificate, and the code stays as it is. USR1 reopens the log. \
TTIN and TTOU add or remove a worker.\n\n\
Exit codes: 0 stopped as requested, 1 could not serve, 2 invalid command line or configuration, 130 stopped at once by a \
second CTRL+C.\n\n\
Environment: NO_COLOR and CLICOLOR_FORCE switch colours off and on; LISTEN_FDS (systemd) passes sockets if no address is \
given; PORT stands for --bind 0.0.0.0:PORT, WEB_CONCURRENCY for --workers, FORWARDED_ALLOW_IPS for --forwarded-allow-ips.";

/// Returns the command with its flags and subcommands.
fn command() -> Command {
    let command = documented_command();
    let command = command.subcommand(with_settings(Command::new(ERROR_PAGE).hide(true)));
    #[cfg(all(unix, feature = "reload"))]
    let command = command.subcommand(
        Command::new(EXEC_AS_CHILD).hide(true).arg(
            Arg::new("argv")
                .value_name("PROGRAM")
                .value_parser(ValueParser::os_string())
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        ),
    );
    with_settings(command)
}

/// Returns the command without its flags, and without what is hidden.
fn documented_command() -> Command {
    let command = Command::new("amboss")
        .bin_name("amboss")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Serves a Python WSGI application, a folder of files, another program, or the built-in development \
             application, which shows what the server passes to an application",
        )
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true);
    #[cfg(feature = "tls")]
    let command =
        command.subcommand(<Devcert as clap::Args>::augment_args(Command::new("devcert")).about(
            "Create a certificate that browsers accept once they trust this machine's own certificate authority",
        ));
    command
        .subcommand(
            Command::new("migrate")
                .about("Print the amboss.toml that corresponds to the configuration of another server")
                .subcommand_required(true)
                .subcommand(of_peer("gunicorn", "gunicorn, with gunicorn.conf.py or the file of -c"))
                .subcommand(of_peer("granian", "granian"))
                .subcommand(
                    Command::new("uwsgi")
                        .about("Read the INI file of uWSGI")
                        .arg(Arg::new("file").value_name("FILE").required(true).value_parser(ValueParser::path_buf())),
                ),
        )
        .subcommand(
            Command::new("completions")
                .about("Print the completions for a shell; the first lines say where to put them")
                .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(clap::value_parser!(Shell))),
        )
        .subcommand(Command::new("man").about("Print the manual page: amboss man | man -l -"))
}

/// Returns the command as completions and the manual have it: without what is hidden, which they would show.
pub(super) fn documentation() -> Command {
    let is_visible = |setting: &&'static Setting| !setting.hidden;
    let add = |command: Command, topic: &'static Topic| {
        command.next_help_heading(topic.heading).args(topic.settings.iter().filter(is_visible).map(argument))
    };
    TOPICS.iter().fold(documented_command(), add).next_help_heading("Configuration").args(config_arguments())
}

/// Returns the subcommand for the command line of another server.
fn of_peer(name: &'static str, what: &'static str) -> Command {
    Command::new(name).about(format!("Read a command line of {what}")).disable_help_flag(true).arg(
        Arg::new("arguments")
            .value_name("ARGUMENTS")
            .help("The arguments of the command line that starts it")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true),
    )
}

/// Adds the flags of the settings.
fn with_settings(mut command: Command) -> Command {
    command = command.args_override_self(true);
    for topic in TOPICS {
        command = command.next_help_heading(topic.heading);
        for setting in topic.settings {
            command = command.arg(argument(setting));
            command = command.args(negation(setting));
        }
    }
    command.next_help_heading("Configuration").args(config_arguments())
}

/// Returns the flags about the configuration itself.
fn config_arguments() -> [Arg; 4] {
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    [
        Arg::new("config")
            .short('c')
            .long("config")
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help("Read the settings of this TOML file [default: amboss.toml or pyproject.toml, if there is one]")
            .conflicts_with(NO_CONFIG),
        switch(NO_CONFIG, "Read no configuration file and no settings of the environment"),
        switch("check-config", "Check the configuration, and import APP, without serving; exit with 0 or 2")
            .conflicts_with("print-config"),
        switch("print-config", "Print the configuration as an amboss.toml, with the source of each value"),
    ]
}

/// Returns the argument for a setting.
fn argument(setting: &'static Setting) -> Arg {
    let mut help = setting.help.to_owned();
    match setting.default {
        DefaultValue::None => {}
        // As clap prints them, they follow the possible values.
        _ => {
            let default = default_text(setting).unwrap_or_default();
            help += &format!(" [default: {default}]");
        }
    }
    let mut arg = Arg::new(setting.name).help(help).hide(setting.hidden);
    if !matches!(setting.kind, Kind::App(_) | Kind::Program(_)) {
        arg = arg.long(setting.name).aliases(setting.aliases.iter().copied());
        if let Some(short) = setting.short {
            arg = arg.short(short);
        }
    }
    if setting.hyphen {
        arg = arg.allow_hyphen_values(true);
    }
    let any = ValueParser::os_string();
    match &setting.kind {
        Kind::Switch(_) => arg.action(ArgAction::SetTrue),
        Kind::Count(_) => arg.action(ArgAction::Count),
        Kind::Value(name, _) => arg.value_name(*name).value_parser(any),
        Kind::List(name, _) => arg.value_name(*name).value_parser(any).action(ArgAction::Append),
        Kind::App(_) => arg.value_name("APP").value_parser(any),
        Kind::Program(_) => arg.value_name("PROGRAM").value_parser(any).num_args(1..).last(true),
        Kind::Choice { name, choices, missing, .. } => {
            let choices = choices.iter().map(|(choice, help)| {
                let value = PossibleValue::new(*choice);
                if help.is_empty() {
                    value
                } else {
                    value.help(*help)
                }
            });
            let arg = arg.value_name(*name).value_parser(PossibleValuesParser::new(choices)).ignore_case(true);
            match missing {
                Some(missing) => arg.num_args(0..=1).require_equals(true).default_missing_value(*missing),
                None => arg,
            }
        }
    }
}

/// Returns the hidden flag that switches a switch off, for one that a file or the environment has switched on.
fn negation(setting: &'static Setting) -> Option<Arg> {
    let name = setting.negation().filter(|_| !setting.hidden)?;
    let arg = Arg::new(negation_id(setting)).long(name).hide(true).action(ArgAction::SetTrue);
    Some(arg.overrides_with(setting.name))
}

fn negation_id(setting: &Setting) -> String {
    format!("not {}", setting.name)
}

/// Parses the command line.
///
/// # Errors
/// What is wrong with the command line. The texts for `--help` and `--version` are returned as errors as well.
pub(super) fn parse(argv: &[OsString]) -> Result<Task, clap::Error> {
    let mut matches = matches(argv.to_vec())?;
    match matches.remove_subcommand() {
        Some((name, mut found)) if name == ERROR_PAGE => Ok(Task::ErrorPage(serve(&mut found))),
        #[cfg(all(unix, feature = "reload"))]
        Some((name, mut found)) if name == EXEC_AS_CHILD => {
            Ok(Task::ExecAsChild(found.remove_many("argv").into_iter().flatten().collect()))
        }
        Some((name, mut found)) if name == "migrate" => {
            let Some((peer, mut found)) = found.remove_subcommand() else {
                return Err(usage_error("name the server: gunicorn, granian or uwsgi"));
            };
            let mut arguments = || found.remove_many("arguments").into_iter().flatten().collect::<Vec<String>>();
            Ok(Task::Migrate(match peer.as_str() {
                "gunicorn" => Migrate::Gunicorn(without_help(&peer, arguments())?),
                "granian" => Migrate::Granian(without_help(&peer, arguments())?),
                _ => Migrate::Uwsgi(found.remove_one("file").unwrap_or_default()),
            }))
        }
        Some((name, mut found)) if name == "completions" => {
            Ok(found.remove_one("shell").map_or(Task::Man, Task::Completions))
        }
        Some((name, _)) if name == "man" => Ok(Task::Man),
        #[cfg(feature = "tls")]
        Some((_, found)) => <Devcert as clap::FromArgMatches>::from_arg_matches(&found).map(Task::Devcert),
        #[cfg(not(feature = "tls"))]
        Some((name, _)) => Err(usage_error(&format!("unknown subcommand '{name}'"))),
        None => Ok(Task::Serve(serve(&mut matches))),
    }
}

/// Returns the arguments of another server, unless help was asked for.
fn without_help(peer: &str, arguments: Vec<String>) -> Result<Vec<String>, clap::Error> {
    match arguments.first().map(String::as_str) {
        Some("-h" | "--help") => command().try_get_matches_from(["amboss", "help", "migrate", peer]).map(|_| arguments),
        _ => Ok(arguments),
    }
}

/// Parses the command line without flags of gunicorn that need no counterpart; for these, a warning is printed. The error
/// about another flag of gunicorn says what it is called here.
fn matches(mut argv: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    loop {
        let error = match command().try_get_matches_from(&argv) {
            Ok(matches) => return Ok(matches),
            Err(error) if error.kind() == ErrorKind::UnknownArgument => error,
            Err(error) => return Err(error),
        };
        let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return Err(error) };
        let begins = |word: &OsString| word.to_str().is_some_and(|word| word.split('=').next() == Some(flag));
        let position = argv.iter().position(begins);
        let (Some(position), Some((values, reason))) = (position, migrate::not_needed(flag)) else {
            return Err(migrate::advice(flag).map_or(error, |advice| config_error(&[advice])));
        };
        say!("amboss: {reason}");
        let is_attached = argv[position] != **flag;
        let end = position + 1 + if is_attached { 0 } else { values };
        argv.drain(position..end.min(argv.len()));
    }
}

fn serve(matches: &mut ArgMatches) -> Serve {
    let given = config::table::settings().filter_map(|setting| {
        let values = values(setting, matches)?;
        Some(Given::new(setting, values, Source::Flag))
    });
    let given = given.collect();
    let action = match (matches.get_flag("check-config"), matches.get_flag("print-config")) {
        (true, _) => Action::Check,
        (_, true) => Action::Print,
        _ => Action::Serve,
    };
    Serve { given, file: matches.remove_one("config"), isolated: matches.get_flag(NO_CONFIG), action }
}

/// Returns the values of a setting on the command line; `None` if it was not given.
fn values(setting: &Setting, matches: &mut ArgMatches) -> Option<Vec<OsString>> {
    match &setting.kind {
        Kind::Switch(_) => {
            if matches.get_flag(setting.name) {
                return Some(vec!["true".into()]);
            }
            let is_off = setting.negation().is_some() && !setting.hidden && matches.get_flag(&negation_id(setting));
            is_off.then(|| vec!["false".into()])
        }
        Kind::Count(_) => match matches.get_count(setting.name) {
            0 => None,
            times => Some(vec![times.to_string().into()]),
        },
        Kind::Choice { .. } => matches.remove_one::<String>(setting.name).map(|value| vec![value.into()]),
        _ => matches.remove_many(setting.name).map(Iterator::collect),
    }
}

/// Returns an error about settings, wherever they come from.
pub(super) fn config_error(messages: &[impl Borrow<str>]) -> clap::Error {
    let messages = messages.join("\nerror: ");
    clap::Error::raw(ErrorKind::ValueValidation, format!("{messages}\n\nFor more information, try '--help'.\n"))
}

/// Returns an error about the values of arguments, for messages of this command.
pub(super) fn usage_error(message: &str) -> clap::Error {
    command().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_command_line_is_consistent() {
        command().debug_assert();
    }

    #[cfg(all(unix, feature = "reload"))]
    #[test]
    fn the_exec_subcommand_passes_every_argument_on() {
        let program = ["sh", "-c", "--", "--help", "-x", "--version", "--bind=1"];
        let argv: Vec<_> = ["amboss", EXEC_AS_CHILD].iter().chain(&program).map(OsString::from).collect();
        let Task::ExecAsChild(argv) = parse(&argv).unwrap() else { panic!("it is another task") };
        assert_eq!(argv, program);
    }
}
