//! The result of a load generator.

use std::time::Duration;

/// The core that load generators are pinned to.
pub const CLIENT_CORE: usize = 1;

/// The result of a run of a load generator.
#[derive(Clone, Copy, Debug)]
pub struct LoadReport {
    /// The number of responses.
    pub responses: u64,
    /// Responses per second.
    pub rate: f64,
    /// The bytes of all responses, complete or not, in MiB. wrk prints three digits. Zero if they are not counted.
    pub mib: f64,
    /// MiB per second.
    pub mib_rate: f64,
    /// The latency that 99 % of the responses do not exceed.
    pub p99: Duration,
    /// The number of socket errors and of incorrect responses. wrk counts every status other than 2xx and 3xx as
    /// incorrect.
    pub errors: u64,
}
