//! Sixteen requests in one write: what is left of a server's cost when system calls are shared. wrk
//! loses count of the latencies of batches: where it printed 0, the table has a dash, and the others mean little.

use crate::load::{Load, Script};
use crate::measure::Contest;
use crate::options::Options;
use crate::peers::Mode;
use crate::{check, Result};

/// Requests per write.
const DEPTH: usize = 16;

/// Measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run(options: &Options) -> Result<()> {
    let script = Script::pipelining(DEPTH)?;
    Contest {
        mode: Mode::Hello,
        connections: &[16, 64],
        check: |port| {
            check::pipelines(port, DEPTH).map_err(|error| error.to_string())?;
            Ok(None)
        },
        unit: "req",
        load: &|port, connections| Load { script: Some(&script), ..Load::new(options, port, connections) },
    }
    .run(options, "Pipelined 16 deep")
}
