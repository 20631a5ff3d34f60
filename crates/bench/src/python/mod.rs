//! Python WSGI applications: amboss compared with the WSGI servers for Python. `cargo run --release -p amboss-bench --
//! python`.
//!
//! The peers are installed from PyPI into a virtual environment below the target folder, which is created once. amboss
//! is installed there, too, from a wheel, as users install it. A peer that cannot be installed is skipped with a
//! message. All servers run the same applications, from files in a temporary folder, in one process each, without an
//! access log.

mod app_folder;
mod bench;
mod computing;
mod files;
mod greenlets;
mod memory;
mod mounts;
mod options;
mod peers;
mod reload;
mod rounds;
mod server;
mod sleepers;
mod throughput;
mod tls;
mod venv;
mod wheel;

use crate::result::Result;
use bench::Bench;
use options::{Options, Table};

/// Parses the arguments after `python`, runs the benchmarks and prints their tables.
///
/// # Errors
///
/// When an argument is wrong, or nothing can be measured.
pub fn run(arguments: &[String]) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let bench = Bench::prepare(options)?;
    for table in &bench.options.tables {
        if let Err(reason) = run_table(&bench, *table) {
            println!("\nskipped: the table {}: {reason}", table.name());
        }
    }
    Ok(())
}

fn run_table(bench: &Bench, table: Table) -> Result<()> {
    match table {
        Table::Hello => throughput::run(bench, &throughput::HELLO),
        Table::Flask => throughput::run(bench, &throughput::FLASK),
        Table::TenKib => throughput::run(bench, &throughput::TEN_KIB),
        Table::Upload => {
            throughput::run(bench, &throughput::UPLOAD)?;
            throughput::run(bench, &throughput::LARGE_UPLOAD)
        }
        Table::Files => {
            files::run(bench)?;
            computing::run(bench)
        }
        Table::Memory => memory::run(bench),
        Table::Sleepers => sleepers::run(bench),
        Table::Greenlets => greenlets::run(bench),
        Table::Tls => tls::run(bench),
        Table::Reload => reload::run(bench),
    }
}
