//! Builds a cargo project after each save. A newer save stops the running build.
//!
//! `cargo run -p amboss-reload --example rebuild -- [folder] [arguments of cargo build]`

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;

use amboss_reload::{BuildOutcome, CancelBuild, CargoError, CargoProject, Scope, Watch, WatchOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let project = CargoProject::find(&arguments.next().map_or(PathBuf::from("."), PathBuf::from))?;
    let arguments: Vec<_> = arguments.collect();
    let mut watch = Watch::start(Scope::new(project.scope())?, WatchOptions::default())?;
    println!(" * Watching with {}", watch.backend());
    let (ended_sender, ended) = channel();
    let waker = watch.waker();
    let start = || -> Result<CancelBuild, CargoError> {
        let build = project.build(&arguments)?;
        let canceller = build.canceller();
        let (ended_sender, waker) = (ended_sender.clone(), waker.clone());
        thread::spawn(move || {
            let _ = ended_sender.send(build.wait());
            waker.wake();
        });
        Ok(canceller)
    };
    let mut running = start()?;
    loop {
        let changes = watch.next(None);
        for outcome in ended.try_iter() {
            match outcome? {
                BuildOutcome::Built(executables) => {
                    executables.iter().for_each(|executable| println!(" * Built {}", executable.path.display()));
                }
                BuildOutcome::Failed(_) => println!(" * The build has failed; fix the error and save"),
                BuildOutcome::Cancelled => println!(" * Build stopped because of a newer change"),
            }
        }
        if let Some(changes) = changes {
            println!(" * Detected change in '{}', building", changes.first().path.display());
            running.cancel();
            running = start()?;
        }
    }
}
