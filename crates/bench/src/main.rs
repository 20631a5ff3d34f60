//! Side-by-side benchmarks: `cargo run --release -p amboss-bench -- <benchmark>`; README.md says what each table
//! measures.
//!
//! Figures that are compared come from the same run: servers and parsers take turns, and each figure is the median of
//! several rounds. A ratio is computed for each round, and printed with its minimum and maximum.
//!
//! Each server is a child process of this program (`serve <peer> <port> <mode> <folder>`), so that its CPU time and
//! memory can be read. `wrk` generates the load. It does not resume TLS sessions, so this program has its own client
//! for handshakes.
//!
//! The parsers need no `CFLAGS` either: httparse detects AVX2 when it runs, and the build script compiles the C source
//! of picohttpparser-sys with `-O3 -mavx2`.

mod benchmark;
mod certificate;
mod checks;
mod connections;
mod file_folder;
mod files;
mod footprint;
mod handshakes;
mod hello;
mod http_client;
mod idle;
mod load;
mod load_report;
mod options;
mod parser;
mod peers;
mod pipelined;
mod proc;
mod process;
mod python;
mod result;
mod saves;
mod server_process;
mod slow;
mod table;
mod tls;

use options::{Command, Options};
use result::Result;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((word, rest)) if word == "serve" => server_process::serve(rest),
        Some((word, rest)) if word == "reloading" => saves::serve_with_reloader(rest),
        Some((word, rest)) if word == "python" => python::run(rest),
        _ => Options::parse(&arguments).and_then(|options| run(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match options.command {
        Command::Help => {
            print!("{}", options::HELP);
            Ok(())
        }
        Command::Parser => parser::run(options),
        Command::Hello => hello::run(options),
        Command::Pipelined => pipelined::run(options),
        Command::Connections => connections::run(options),
        Command::Files => files::run(options),
        Command::Slow => slow::run(options),
        Command::Idle => idle::run(options),
        Command::Tls => tls::run(options),
        Command::Saves => saves::run(),
        Command::Footprint => footprint::run(),
        Command::All => run_all(options),
    }
}

fn run_all(options: &Options) -> Result<()> {
    footprint::run()?;
    parser::run(options)?;
    hello::run(options)?;
    if options.pinned {
        hello::run(&Options { pinned: false, ..options.clone() })?;
    }
    pipelined::run(options)?;
    connections::run(options)?;
    files::run(options)?;
    slow::run(options)?;
    idle::run(options)?;
    tls::run(options)?;
    saves::run()
}
