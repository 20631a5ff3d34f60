//! Python WSGI applications: amboss beside the servers made for them. `cargo run --release -p amboss-bench -- python`.
//!
//! The peers come from PyPI into a virtual environment under the target folder, which is made once; amboss comes there too, as
//! the wheel a user would install. What can't be had is said, and left out. All run the same applications, from files written
//! to a temporary folder, one process each, without an access log.

mod contest;
mod environment;
mod memory;
mod options;
mod peers;
mod reload;
mod rounds;
mod server;
mod site;
mod sleepers;
mod wheel;

use crate::Result;
use environment::Environment;
use options::Options;
use peers::Peer;
use site::Site;

/// What a table is made by.
type Make = fn(&Bench) -> Result<()>;

/// The tables, in the order they are made in, by the name they have on the command line.
const TABLES: &[(&str, Make)] = &[
    ("hello", |bench| contest::run(bench, &contest::HELLO)),
    ("flask", |bench| contest::run(bench, &contest::FLASK)),
    ("10k", |bench| contest::run(bench, &contest::TEN)),
    ("upload", |bench| {
        contest::run(bench, &contest::UPLOAD)?;
        contest::run(bench, &contest::LARGE_UPLOAD)
    }),
    ("memory", memory::run),
    ("sleepers", sleepers::run),
    ("reload", reload::run),
];

/// What all tables need.
pub struct Bench {
    options: Options,
    environment: Environment,
    site: Site,
    /// Those of the peers asked for that can be had.
    peers: Vec<&'static Peer>,
}

/// Reads the arguments after `python`, measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run(arguments: &[String]) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let bench = Bench::prepare(options)?;
    for (name, make) in TABLES.iter().filter(|(name, _)| bench.options.tables.contains(name)) {
        if let Err(why) = make(&bench) {
            println!("\nskipped: the table {name}: {why}");
        }
    }
    Ok(())
}

impl Bench {
    fn prepare(options: Options) -> Result<Bench> {
        let environment = Environment::make(&options.python)?;
        let mut peers = Vec::new();
        for peer in &options.peers {
            let had = peer.packages.iter().try_for_each(|package| match *package {
                wheel::PACKAGE => wheel::install(&environment, options.wheel.as_deref()),
                package => environment.require(package),
            });
            match had {
                Ok(()) => peers.push(*peer),
                Err(why) => println!("skipped: {}: {why}", peer.name),
            }
        }
        println!("{}: {}", environment.python, environment.installed()?.join(", "));
        Ok(Bench { options, environment, site: Site::new()?, peers })
    }

    /// Is a peer of this package taking part?
    fn has(&self, package: &str) -> bool {
        self.peers.iter().any(|peer| peer.packages.contains(&package))
    }
}
