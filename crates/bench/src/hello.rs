//! The plain case: 13 bytes over kept-alive connections. wrk's own core is full at some 140,000 answers a second; above that
//! only the CPU per request tells.

use crate::load::Load;
use crate::measure::Contest;
use crate::options::Options;
use crate::peers::Mode;
use crate::{check, Result};

/// Measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run(options: &Options) -> Result<()> {
    Contest {
        mode: Mode::Hello,
        connections: &[1, 16, 64, 256],
        check: |port| {
            check::keeps_alive(port).map_err(|error| error.to_string())?;
            Ok(None)
        },
        unit: "req",
        load: &|port, connections| Load::new(options, port, connections),
    }
    .run(options, "Keep-alive hello")
}
