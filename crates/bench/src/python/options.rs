//! The command line of `python`.

use super::peers::{Peer, PEERS};
use super::TABLES;
use crate::Result;
use std::path::PathBuf;

/// What `python --help` prints.
pub const HELP: &str = "\
cargo run --release -p amboss-bench -- python [options]

  --tables a,b,c  only these: hello, flask, 10k, upload, memory, sleepers, reload (all)
  --peers a,b,c   only these: amboss, bjoern, granian, uwsgi, gunicorn-sync, gunicorn-gthread, gunicorn-gevent,
                  waitress, cheroot, werkzeug (all)
  --rounds N      rounds per figure, of which the median is shown (3)
  --seconds S     seconds per measurement (3)
  --pinned        only with server and wrk on one core each, not unpinned as well
  --unpinned      only unpinned
  --python PATH   the interpreter (python3)
  --wheel PATH    the wheel of amboss (built from crates/python)

Needs wrk; bjoern needs libev's headers, too. Leave the machine alone while it runs.
";

/// The command line, understood.
#[derive(Debug)]
pub struct Options {
    /// The names of the tables to make.
    pub tables: Vec<&'static str>,
    /// Who is asked to take part.
    pub peers: Vec<&'static Peer>,
    /// Rounds of which the median is taken.
    pub rounds: usize,
    /// Seconds of load per measurement.
    pub seconds: u32,
    /// Throughput with server and wrk on a core each, or not, or once so and once so.
    pub pinned: Vec<bool>,
    /// The interpreter, or the name it is found by.
    pub python: String,
    /// The wheel of amboss, if there is one already.
    pub wheel: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after `python`. Nothing when help is asked for.
    ///
    /// # Errors
    ///
    /// A sentence that names the argument.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>> {
        let mut options = Options {
            tables: TABLES.iter().map(|(name, _)| *name).collect(),
            peers: PEERS.iter().collect(),
            rounds: 3,
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
                        .ok_or_else(|| format!("{word} is no option, or lacks its value; try python --help"))?;
                    options.set(word, value)?;
                }
            }
        }
        Ok(Some(options))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "--tables" => self.tables = chosen(value, TABLES.iter().map(|(name, _)| *name), "table")?,
            "--peers" => {
                let names = chosen(value, PEERS.iter().map(|peer| peer.name), "peer")?;
                self.peers = PEERS.iter().filter(|peer| names.contains(&peer.name)).collect();
            }
            "--rounds" => self.rounds = number(option, value)? as usize,
            "--seconds" => self.seconds = number(option, value)?,
            "--python" => self.python = value.into(),
            "--wheel" => self.wheel = Some(value.into()),
            _ => return Err(format!("there is no option {option}; try python --help")),
        }
        Ok(())
    }
}

fn number(option: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes a number of at least 1, not {value:?}")),
        Ok(number) => Ok(number),
    }
}

fn chosen(list: &str, known: impl Iterator<Item = &'static str>, what: &str) -> Result<Vec<&'static str>> {
    let known: Vec<_> = known.collect();
    list.split(',')
        .map(|name| {
            let found = known.iter().find(|known| **known == name).copied();
            found.ok_or_else(|| format!("there is no {what} {name:?}; there are {}", known.join(", ")))
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
    fn everything_is_measured_unless_less_is_asked_for() {
        let all = parse("").expect("well formed").expect("no help");
        assert_eq!((all.tables.len(), all.peers.len(), all.pinned), (TABLES.len(), PEERS.len(), vec![true, false]));
        let few = parse("--tables hello,reload --peers cheroot,amboss --rounds 1 --seconds 2 --unpinned --wheel a.whl");
        let few = few.expect("well formed").expect("no help");
        assert_eq!(few.tables, ["hello", "reload"]);
        assert_eq!(few.peers.iter().map(|peer| peer.name).collect::<Vec<_>>(), ["amboss", "cheroot"]);
        assert_eq!((few.rounds, few.seconds, few.pinned), (1, 2, vec![false]));
        assert_eq!(few.wheel, Some("a.whl".into()));
    }

    #[test]
    fn help_names_every_table_and_peer() {
        assert!(parse("--help").expect("well formed").is_none());
        for name in TABLES.iter().map(|(name, _)| *name).chain(PEERS.iter().map(|peer| peer.name)) {
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, said) in [
            ("--tables soup", "\"soup\""),
            ("--peers apache", "\"apache\""),
            ("--rounds 0", "--rounds"),
            ("--seconds", "--seconds"),
            ("--fast yes", "--fast"),
        ] {
            let sentence = parse(line).expect_err(line);
            assert!(sentence.contains(said), "{line}: {sentence}");
        }
    }
}
