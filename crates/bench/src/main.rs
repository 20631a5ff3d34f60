//! Side-by-side benchmarks: `cargo run --release -p amboss-bench -- <what>`. Every figure comes from the same run as the figures
//! it is compared with, servers and parsers taking turns, and is the median of several rounds.
//!
//! Servers are started as children of this process (`serve <peer> <port> <mode> <folder>`), so that each has a process of its own
//! whose CPU time and memory can be read. The load comes from `wrk`; for TLS handshakes, which it does not resume, from a client
//! here.
//!
//! One command is enough for the parsers, too: httparse finds AVX2 when it runs, and the build script compiles the C source that
//! came with picohttpparser-sys with `-O3 -mavx2`, so that no `CFLAGS` have to be set.

mod certificate;
mod check;
mod child;
mod connections;
mod footprint;
mod hello;
mod idle;
mod load;
mod measure;
mod options;
mod parser;
mod peers;
mod pipelined;
mod proc;
mod python;
mod saves;
mod slow;
mod table;
mod tls;

use options::{Options, What};
use std::process::ExitCode;

/// What goes wrong here is told to a person, so it is a sentence.
pub type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((word, rest)) if word == "serve" => child::serve(rest),
        Some((word, rest)) if word == "reloading" => saves::reloading(rest),
        Some((word, rest)) if word == "python" => python::run(rest),
        _ => Options::parse(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match options.what {
        What::Help => {
            print!("{}", options::HELP);
            Ok(())
        }
        What::Parser => parser::run(options),
        What::Hello => hello::run(options),
        What::Pipelined => pipelined::run(options),
        What::Connections => connections::run(options),
        What::Slow => slow::run(options),
        What::Idle => idle::run(options),
        What::Tls => tls::run(options),
        What::Saves => saves::run(options),
        What::Footprint => footprint::run(),
        What::All => all(options),
    }
}

fn all(options: &Options) -> Result<()> {
    footprint::run()?;
    parser::run(options)?;
    hello::run(options)?;
    if options.pinned {
        hello::run(&Options { pinned: false, ..options.clone() })?;
    }
    pipelined::run(options)?;
    connections::run(options)?;
    slow::run(options)?;
    idle::run(options)?;
    tls::run(options)?;
    saves::run(options)
}
