//! What all Python tables need: the options, the virtual environment with the servers, and the applications.

use super::app_folder::AppFolder;
use super::options::Options;
use super::peers::Peer;
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
}

impl Bench {
    /// Installs the peers. Prints a message about each peer that cannot be installed.
    ///
    /// # Errors
    ///
    /// When the virtual environment or the applications cannot be created.
    pub fn prepare(options: Options) -> Result<Bench> {
        let venv = Venv::open(&options.python)?;
        let mut peers = Vec::new();
        for peer in &options.peers {
            let installed = peer.packages.iter().try_for_each(|package| match *package {
                wheel::PACKAGE => wheel::install(&venv, options.wheel.as_deref()),
                package => venv.require(package),
            });
            match installed {
                Ok(()) => peers.push(*peer),
                Err(reason) => println!("skipped: {}: {reason}", peer.name),
            }
        }
        println!("{}: {}", venv.python, venv.installed()?.join(", "));
        Ok(Bench { options, venv, apps: AppFolder::create()?, peers })
    }

    /// Whether a peer of this package takes part.
    pub fn has(&self, package: &str) -> bool {
        self.peers.iter().any(|peer| peer.packages.contains(&package))
    }
}
