//! The command line of the driver.

use crate::peers::{self, Peer, PEERS};
use crate::Result;

/// What `help` prints.
pub const HELP: &str = "\
cargo run --release -p amboss-bench -- <what> [options]

  parser       request heads: nanoseconds beside httparse and picohttpparser
  hello        13 bytes over kept-alive connections, at 1, 16, 64 and 256 of them
  pipelined    the same, 16 requests at a time
  connections  a new connection for each request
  slow         a fast path beside eight connections that sleep 100 ms
  idle         threads and memory of 5,000 idle connections
  tls          handshakes, hello and downloads of 1 MiB over TLS, beside hyper and nginx
  saves        from a save to the first answer of the new code, with and without a build
  footprint    clean build time of amboss-core, size of the stripped hello
  all          all of these, hello both pinned and unpinned
  python       Python WSGI applications, beside Python's servers; has options of its own: python --help

  --rounds N      rounds per figure, of which the median is shown (3; parser: at least 5)
  --seconds S     seconds per measurement (4)
  --peers a,b,c   only these peers (all)
  --unpinned      let server and wrk use all cores, instead of one each

Needs wrk, and for that peer nginx. Leave the machine alone while it runs.
";

/// Which benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum What {
    Help,
    Parser,
    Hello,
    Pipelined,
    Connections,
    Slow,
    Idle,
    Tls,
    Saves,
    Footprint,
    All,
}

const WORDS: &[(&str, What)] = &[
    ("parser", What::Parser),
    ("hello", What::Hello),
    ("pipelined", What::Pipelined),
    ("connections", What::Connections),
    ("slow", What::Slow),
    ("idle", What::Idle),
    ("tls", What::Tls),
    ("saves", What::Saves),
    ("footprint", What::Footprint),
    ("all", What::All),
    ("help", What::Help),
    ("--help", What::Help),
    ("-h", What::Help),
];

/// The command line, understood.
#[derive(Clone)]
pub struct Options {
    /// Which benchmark.
    pub what: What,
    /// Rounds of which the median is taken.
    pub rounds: usize,
    /// Seconds of load per measurement.
    pub seconds: u32,
    /// Who takes part.
    pub peers: Vec<&'static Peer>,
    /// Server on core 0 and wrk on core 1.
    pub pinned: bool,
}

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// A sentence that names the argument.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options =
            Options { what: What::Help, rounds: 3, seconds: 4, peers: PEERS.iter().collect(), pinned: true };
        let mut rest = arguments.iter();
        if let Some(word) = rest.next() {
            options.what = WORDS
                .iter()
                .find(|(known, _)| known == word)
                .map(|(_, what)| *what)
                .ok_or_else(|| format!("there is no benchmark {word:?}; try help"))?;
        }
        while let Some(word) = rest.next() {
            if word == "--unpinned" {
                options.pinned = false;
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{word} is no option, or lacks its value; try help"))?;
            match word.as_str() {
                "--rounds" => options.rounds = number(word, value)? as usize,
                "--seconds" => options.seconds = number(word, value)?,
                "--peers" => options.peers = chosen(value)?,
                _ => return Err(format!("there is no option {word}; try help")),
            }
        }
        Ok(options)
    }
}

fn number(option: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes a number of at least 1, not {value:?}")),
        Ok(number) => Ok(number),
    }
}

fn chosen(list: &str) -> Result<Vec<&'static Peer>> {
    list.split(',')
        .map(|name| {
            peers::find(name).ok_or_else(|| {
                let known: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
                format!("there is no peer {name:?}; there are {}", known.join(", "))
            })
        })
        .collect()
}
