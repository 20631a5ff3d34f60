//! Measures what watching costs while nothing changes, as CPU time over 5,000 files, and how soon a save is reported.
//!
//! `cargo run --release -p amboss-reload --example idle -- [seconds] [files]`

use std::fs;
use std::time::{Duration, Instant};

use amboss_reload::{Backend, Scope, ScopeOptions, Watch, WatchOptions};
use rustix::time::{clock_gettime, ClockId};

/// The number of files in each folder; source trees have about ten.
const PER_FOLDER: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let seconds = arguments.next().transpose()?.unwrap_or(30);
    let files = arguments.next().transpose()?.unwrap_or(5000);
    let place = tempfile::tempdir()?;
    let file = |number: usize| {
        place.path().join(format!("p{}/q{}/f{number}.py", number / PER_FOLDER % 7, number / PER_FOLDER))
    };
    for number in 0..files {
        let path = file(number);
        fs::create_dir_all(path.parent().expect("a parent"))?;
        fs::write(path, "1")?;
    }
    for backend in [Backend::Stat, Backend::Notify] {
        let mut scope = ScopeOptions::default();
        scope.roots.push(place.path().into());
        let mut options = WatchOptions::default();
        options.backend = backend;
        let started = Instant::now();
        let mut watch = Watch::start(Scope::new(scope)?, options)?;
        let start = started.elapsed();
        // In the first seconds the watch measures what a check costs.
        assert!(watch.next(Some(Duration::from_secs(5))).is_none());
        let (cpu, wall) = (cpu_time(), Instant::now());
        assert!(watch.next(Some(Duration::from_secs(seconds as u64))).is_none());
        let share = 100.0 * (cpu_time() - cpu).as_secs_f64() / wall.elapsed().as_secs_f64();
        let mut delays = Vec::new();
        for round in 0..3 {
            let saved = Instant::now();
            fs::write(file((files * round + files / 2) / 3), "12".repeat(round + 1) + backend.to_string().as_str())?;
            watch.next(None);
            delays.push(saved.elapsed().as_millis().to_string());
        }
        println!(
            "{backend}: {files} files, started in {} ms, idle {share:.3} % of a core over {seconds} s, saves reported \
             after {} ms",
            start.as_millis(),
            delays.join(", ")
        );
    }
    Ok(())
}

/// The CPU time of all threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
