//! The command line.

use crate::peers::{self, Peer, PEERS};
use crate::result::Result;

/// The output of `help`.
pub const HELP: &str = "\
cargo run --release -p amboss-bench -- <benchmark> [options]

  parser       nanoseconds per request head, compared with httparse and picohttpparser
  hello        13 bytes over kept-alive connections, at 1, 16, 64 and 256 connections
  pipelined    the same, 16 requests at a time
  connections  a new connection for each request
  files        files of 1 KiB, 100 KiB and 100 MiB, compared with nginx and actix-files
  slow         a fast path next to eight connections that sleep 100 ms
  idle         threads and memory of 5,000 idle connections
  tls          handshakes, hello and downloads of 1 MiB over TLS, compared with hyper and nginx
  saves        time from a save to the first response of the new code, with and without a build
  footprint    clean build time of amboss-core, size of the stripped hello
  all          all of these, hello both pinned and unpinned
  python       Python WSGI applications, compared with Python's servers; for its options: python --help

  --rounds N      rounds per figure: tables show medians, and the minimum and maximum of ratios (7; parser: 5 or more)
  --seconds S     seconds per measurement (4)
  --peers a,b,c   only these peers (all)
  --unpinned      let the server and wrk use all cores, instead of one each

Needs wrk, and nginx for the peer of that name. Do not use the machine for anything else meanwhile.
";

/// A benchmark, or the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Help,
    Parser,
    Hello,
    Pipelined,
    Connections,
    Files,
    Slow,
    Idle,
    Tls,
    Saves,
    Footprint,
    All,
}

const COMMANDS: &[(&str, Command)] = &[
    ("parser", Command::Parser),
    ("hello", Command::Hello),
    ("pipelined", Command::Pipelined),
    ("connections", Command::Connections),
    ("files", Command::Files),
    ("slow", Command::Slow),
    ("idle", Command::Idle),
    ("tls", Command::Tls),
    ("saves", Command::Saves),
    ("footprint", Command::Footprint),
    ("all", Command::All),
    ("help", Command::Help),
    ("--help", Command::Help),
    ("-h", Command::Help),
];

/// The default number of rounds: enough for a minimum and a maximum that mean something.
pub const DEFAULT_ROUNDS: usize = 7;

/// The parsed command line.
#[derive(Clone)]
pub struct Options {
    /// The benchmark to run.
    pub command: Command,
    /// The number of rounds.
    pub rounds: usize,
    /// How long each measurement takes, in seconds.
    pub seconds: u32,
    /// The peers to measure.
    pub peers: Vec<&'static Peer>,
    /// Whether the server runs on core 0 and wrk on core 1.
    pub pinned: bool,
}

impl Options {
    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// A message that names the argument.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Options {
            command: Command::Help,
            rounds: DEFAULT_ROUNDS,
            seconds: 4,
            peers: PEERS.iter().collect(),
            pinned: true,
        };
        let mut rest = arguments.iter();
        if let Some(word) = rest.next() {
            options.command = COMMANDS
                .iter()
                .find(|(known, _)| known == word)
                .map(|(_, command)| *command)
                .ok_or_else(|| format!("there is no benchmark {word:?}; try help"))?;
        }
        while let Some(word) = rest.next() {
            if word == "--unpinned" {
                options.pinned = false;
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{word} is not an option, or lacks its value; try help"))?;
            match word.as_str() {
                "--rounds" => options.rounds = parse_number(word, value)? as usize,
                "--seconds" => options.seconds = parse_number(word, value)?,
                "--peers" => options.peers = parse_peers(value)?,
                _ => return Err(format!("there is no option {word}; try help")),
            }
        }
        Ok(options)
    }
}

/// Parses a number of at least 1.
///
/// # Errors
///
/// A message that names the option.
pub fn parse_number(option: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes a number of at least 1, not {value:?}")),
        Ok(number) => Ok(number),
    }
}

fn parse_peers(list: &str) -> Result<Vec<&'static Peer>> {
    list.split(',')
        .map(|name| {
            peers::find(name).ok_or_else(|| {
                let known: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
                format!("there is no peer {name:?}; choose from {}", known.join(", "))
            })
        })
        .collect()
}
