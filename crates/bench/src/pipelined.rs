//! Sixteen requests in one write: the cost of a request when the cost of system calls is shared. wrk miscounts the
//! latencies of batches: where it prints 0, the table has a dash, and the other latencies say little.

use crate::benchmark::{Benchmark, Unit};
use crate::checks;
use crate::load::{Load, Script};
use crate::options::Options;
use crate::peers::Mode;
use crate::result::Result;

/// The number of requests in a write.
const DEPTH: usize = 16;

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When the script for wrk cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let script = Script::pipelining(DEPTH)?;
    Benchmark {
        mode: Mode::Hello,
        connections: &[16, 64],
        check: &|port| {
            checks::check_pipelining(port, DEPTH).map_err(|error| error.to_string())?;
            Ok(None)
        },
        unit: Unit::Request,
        load: &|port, connections| Load { script: Some(&script), ..Load::new(options, port, connections) },
    }
    .run(options, "Pipelined 16 deep")
}
