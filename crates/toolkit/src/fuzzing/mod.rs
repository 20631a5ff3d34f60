//! The fuzz targets as ordinary functions. `fuzz/` runs them with libFuzzer; `tests/fuzz_replay.rs` runs the same code
//! on every seed and every regression, with a stable compiler.
//!
//! Each function takes any bytes and panics if an invariant is broken. `fuzz/README.md` summarises the invariants.
//!
//! Compiled only with the feature `fuzzing`. Not part of the crate's API.
// These functions panic to report a finding.
#![allow(clippy::missing_panics_doc)]

mod multipart;
mod reference;

pub use multipart::multipart;

/// The name of a target and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[("multipart", multipart)];
