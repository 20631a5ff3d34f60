//! A new connection for each request: wrk asks for `Connection: close`, and connects again as soon as the answer agrees.

use crate::check::{self, Close};
use crate::load::Load;
use crate::measure::Contest;
use crate::options::Options;
use crate::peers::Mode;
use crate::Result;

/// Measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run(options: &Options) -> Result<()> {
    Contest {
        mode: Mode::Close,
        connections: &[16, 64],
        check: |port| {
            let close = check::closes(port).map_err(|error| error.to_string())?;
            Ok(match close {
                Close::AsItShould => None,
                Close::Unannounced => Some(
                    "closes without announcing it: wrk finds out with its next request, and counts an error".into(),
                ),
                Close::LeftToTheClient => Some("announces the close and leaves it to the client: wrk closes".into()),
            })
        },
        unit: "req",
        load: &|port, connections| Load { field: Some("Connection: close"), ..Load::new(options, port, connections) },
    }
    .run(options, "A new connection per request")
}
