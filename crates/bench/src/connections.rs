//! A new connection for each request: wrk sends `Connection: close`, and connects again when the response has it, too.

use crate::benchmark::{Benchmark, Unit};
use crate::checks::{self, CloseBehavior};
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
        mode: Mode::Close,
        connections: &[16, 64],
        check: &|port| {
            let close = checks::check_close(port).map_err(|error| error.to_string())?;
            Ok(match close {
                CloseBehavior::Correct => None,
                CloseBehavior::Unannounced => {
                    Some("closes without announcing it: wrk notices at its next request, and counts an error".into())
                }
                CloseBehavior::LeftToClient => {
                    Some("announces the close and leaves it to the client: wrk closes".into())
                }
            })
        },
        unit: Unit::Request,
        load: &|port, connections| Load { field: Some("Connection: close"), ..Load::new(options, port, connections) },
    }
    .run(options, "A new connection per request")
}
