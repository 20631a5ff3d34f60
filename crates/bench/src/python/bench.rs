//! What all Python tables need: the options, the virtual environment with the servers, and the applications.

use super::app_folder::AppFolder;
use super::options::{Options, Table};
use super::peers::{Peer, GREENLETS};
use super::venv::Venv;
use super::wheel;
use crate::result::Result;

/// What all Python tables need.
pub struct Bench {
    /// The parsed command line.
    pub options: Options,
    /// The virtual environment.
    pub venv: Venv,
    /// The folder with the applications.
    pub apps: AppFolder,
    /// The peers that were asked for and could be installed.
    pub peers: Vec<&'static Peer>,
    /// The servers of the table of greenlets that could be installed, if that table is printed.
    pub greenlets: Vec<&'static Peer>,
}

impl Bench {
    /// Installs the peers. Prints a message about each peer that cannot be installed.
    ///
    /// # Errors
    ///
    /// When the virtual environment or the applications cannot be created.
    pub fn prepare(options: Options) -> Result<Bench> {
        let venv = Venv::open(&options.python)?;
        let install = |peer: &&'static Peer| {
            let installed = peer.packages.iter().try_for_each(|package| match *package {
                wheel::PACKAGE => wheel::install(&venv, options.wheel.as_deref()),
                package => venv.require(package),
            });
            if let Err(reason) = &installed {
                println!("skipped: {}: {reason}", peer.name);
            }
            installed.is_ok()
        };
        let only_greenlets = options.tables == [Table::Greenlets];
        let peers = options.peers.iter().copied().filter(|_| !only_greenlets).filter(install).collect();
        let wants_greenlets = options.tables.contains(&Table::Greenlets);
        let greenlets = GREENLETS.iter().filter(|_| wants_greenlets).filter(install).collect();
        if wants_greenlets {
            venv.require("flask")?;
        }
        println!("{}: {}", venv.python, venv.installed()?.join(", "));
        Ok(Bench { options, venv, apps: AppFolder::create()?, peers, greenlets })
    }

    /// Whether a peer of this package takes part.
    pub fn has(&self, package: &str) -> bool {
        self.peers.iter().any(|peer| peer.packages.contains(&package))
    }
}
