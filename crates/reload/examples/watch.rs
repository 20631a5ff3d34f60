//! Prints the changes in a folder: `cargo run -p amboss-reload --example watch -- [folder] [auto|stat|notify]`.

use amboss_reload::{Backend, Scope, ScopeOptions, Watch, WatchOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mut scope = ScopeOptions::default();
    scope.roots.push(arguments.next().unwrap_or_else(|| ".".into()).into());
    let mut options = WatchOptions::default();
    options.backend = match arguments.next() {
        Some(name) if name == "stat" => Backend::Stat,
        Some(name) if name == "notify" => Backend::Notify,
        _ => Backend::Auto,
    };
    let mut watch = Watch::start(Scope::new(scope)?, options)?;
    if let Some(reason) = watch.fallback_reason() {
        println!(" * Not watching with notify: {reason}");
    }
    println!(" * Watching with {}", watch.backend());
    while let Some(changes) = watch.next(None) {
        for change in &changes {
            println!("{:?} {}", change.kind, change.path.display());
        }
        println!();
    }
    Ok(())
}
