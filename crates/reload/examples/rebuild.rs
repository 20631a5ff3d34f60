//! Builds a cargo project on each save; a newer save stops the build that is running.
//!
//! `cargo run -p amboss-reload --example rebuild -- [folder] [arguments of cargo build]`

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;

use amboss_reload::{CancelBuild, CargoError, CargoProject, Outcome, Scope, Watch, WatchOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let project = CargoProject::find(&arguments.next().map_or(PathBuf::from("."), PathBuf::from))?;
    let arguments: Vec<_> = arguments.collect();
    let mut watch = Watch::start(Scope::new(project.scope())?, WatchOptions::default())?;
    println!(" * Watching with {}", watch.backend());
    let (ended_to, ended) = channel();
    let waker = watch.waker();
    let start = || -> Result<CancelBuild, CargoError> {
        let build = project.build(&arguments)?;
        let canceller = build.canceller();
        let (ended_to, waker) = (ended_to.clone(), waker.clone());
        thread::spawn(move || {
            let _ = ended_to.send(build.wait());
            waker.wake();
        });
        Ok(canceller)
    };
    let mut running = start()?;
    loop {
        let changes = watch.next(None);
        for outcome in ended.try_iter() {
            match outcome? {
                Outcome::Built(built) => println!(" * Built {}", built.executable()?),
                Outcome::Failed(_) => println!(" * Not built; mend it and save"),
                Outcome::Cancelled => println!(" * Stopped, since there is something newer"),
            }
        }
        if let Some(changes) = changes {
            println!(" * Detected change in '{}', building", changes.first().path.display());
            running.cancel();
            running = start()?;
        }
    }
}
