//! The command line of `python`.

use super::peers::{Peer, PEERS};
use crate::options::{parse_number, DEFAULT_ROUNDS};
use crate::result::Result;
use std::path::PathBuf;

/// The output of `python --help`.
pub const HELP: &str = "\
cargo run --release -p amboss-bench -- python [options]

  --tables a,b,c  only these: hello, flask, 10k, upload, files, memory, sleepers, greenlets,
                  tls, reload (all)
  --peers a,b,c   only these: amboss, bjoern, granian, uwsgi, gunicorn-sync, gunicorn-gthread, gunicorn-gevent,
                  waitress, cheroot, werkzeug (all)
  --rounds N      rounds per figure: tables show medians, and the minimum and maximum of ratios (7)
  --seconds S     seconds per measurement (3)
  --pinned        only with the server and wrk on one core each, not unpinned as well
  --unpinned      only unpinned
  --python PATH   the interpreter (python3)
  --wheel PATH    the wheel of amboss (built from crates/python)

Needs wrk, and the headers of libev for bjoern. Do not use the machine for anything else meanwhile.
";

/// A table of this benchmark; uploads have two, and files as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Table {
    Hello,
    Flask,
    TenKib,
    Upload,
    Files,
    Memory,
    Sleepers,
    Greenlets,
    Tls,
    Reload,
}

/// All tables, in the order in which they are printed.
const TABLES: [Table; 10] = [
    Table::Hello,
    Table::Flask,
    Table::TenKib,
    Table::Upload,
    Table::Files,
    Table::Memory,
    Table::Sleepers,
    Table::Greenlets,
    Table::Tls,
    Table::Reload,
];

impl Table {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Table::Hello => "hello",
            Table::Flask => "flask",
            Table::TenKib => "10k",
            Table::Upload => "upload",
            Table::Files => "files",
            Table::Memory => "memory",
            Table::Sleepers => "sleepers",
            Table::Greenlets => "greenlets",
            Table::Tls => "tls",
            Table::Reload => "reload",
        }
    }
}

/// The parsed command line.
#[derive(Debug)]
pub struct Options {
    /// The tables to print.
    pub tables: Vec<Table>,
    /// The peers to measure.
    pub peers: Vec<&'static Peer>,
    /// The number of rounds.
    pub rounds: usize,
    /// How long each measurement takes, in seconds.
    pub seconds: u32,
    /// Whether throughput is measured with the server and wrk on a core each. Two values measure it both ways.
    pub pinned: Vec<bool>,
    /// The interpreter: a path, or a name in PATH.
    pub python: String,
    /// The wheel of amboss. `None` builds it.
    pub wheel: Option<PathBuf>,
}

impl Options {
    /// Parses the arguments after `python`. `None` when the user asks for help.
    ///
    /// # Errors
    ///
    /// A message that names the argument.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>> {
        let mut options = Options {
            tables: TABLES.to_vec(),
            peers: PEERS.iter().collect(),
            rounds: DEFAULT_ROUNDS,
            seconds: 3,
            pinned: vec![true, false],
            python: "python3".into(),
            wheel: None,
        };
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            match word.as_str() {
                "-h" | "--help" | "help" => return Ok(None),
                "--pinned" => options.pinned = vec![true],
                "--unpinned" => options.pinned = vec![false],
                _ => {
                    let value = rest
                        .next()
                        .ok_or_else(|| format!("{word} is not an option, or lacks its value; try python --help"))?;
                    options.set(word, value)?;
                }
            }
        }
        Ok(Some(options))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "--tables" => {
                let names = parse_names(value, TABLES.iter().map(|table| table.name()), "table")?;
                self.tables = TABLES.into_iter().filter(|table| names.contains(&table.name())).collect();
            }
            "--peers" => {
                let names = parse_names(value, PEERS.iter().map(|peer| peer.name), "peer")?;
                self.peers = PEERS.iter().filter(|peer| names.contains(&peer.name)).collect();
            }
            "--rounds" => self.rounds = parse_number(option, value)? as usize,
            "--seconds" => self.seconds = parse_number(option, value)?,
            "--python" => self.python = value.into(),
            "--wheel" => self.wheel = Some(value.into()),
            _ => return Err(format!("there is no option {option}; try python --help")),
        }
        Ok(())
    }
}

fn parse_names(list: &str, known: impl Iterator<Item = &'static str>, what: &str) -> Result<Vec<&'static str>> {
    let known: Vec<_> = known.collect();
    list.split(',')
        .map(|name| {
            let found = known.iter().find(|known| **known == name).copied();
            found.ok_or_else(|| format!("there is no {what} {name:?}; choose from {}", known.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_select_tables_and_peers() {
        let all = parse("").expect("valid").expect("not help");
        assert_eq!((all.tables.len(), all.peers.len(), all.pinned), (TABLES.len(), PEERS.len(), vec![true, false]));
        assert!(all.rounds >= 7);
        let few = parse("--tables reload,hello --peers cheroot,amboss --rounds 1 --seconds 2 --unpinned --wheel a.whl");
        let few = few.expect("valid").expect("not help");
        assert_eq!(few.tables, [Table::Hello, Table::Reload]);
        assert_eq!(few.peers.iter().map(|peer| peer.name).collect::<Vec<_>>(), ["amboss", "cheroot"]);
        assert_eq!((few.rounds, few.seconds, few.pinned), (1, 2, vec![false]));
        assert_eq!(few.wheel, Some("a.whl".into()));
    }

    #[test]
    fn the_help_text_contains_every_table_and_peer() {
        assert!(parse("--help").expect("valid").is_none());
        for name in TABLES.iter().map(|table| table.name()).chain(PEERS.iter().map(|peer| peer.name)) {
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn errors_contain_the_wrong_argument() {
        for (line, expected) in [
            ("--tables soup", "\"soup\""),
            ("--peers apache", "\"apache\""),
            ("--rounds 0", "--rounds"),
            ("--seconds", "--seconds"),
            ("--fast yes", "--fast"),
        ] {
            let message = parse(line).expect_err(line);
            assert!(message.contains(expected), "{line}: {message}");
        }
    }
}
