//! The simple case: 13 bytes over kept-alive connections. wrk saturates its core at some 140,000 responses a second;
//! above that, only the CPU time per request says anything.

use crate::benchmark::{Benchmark, Unit};
use crate::checks;
use crate::load::Load;
use crate::options::Options;
use crate::peers::Mode;
use crate::result::Result;

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// None: the table says why a peer cannot be measured.
pub fn run(options: &Options) -> Result<()> {
    Benchmark {
        mode: Mode::Hello,
        connections: &[1, 16, 64, 256],
        check: &|port| {
            checks::check_keep_alive(port).map_err(|error| error.to_string())?;
            Ok(None)
        },
        unit: Unit::Request,
        load: &|port, connections| Load::new(options, port, connections),
    }
    .run(options, "Keep-alive hello")
}
