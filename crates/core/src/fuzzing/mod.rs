//! The fuzz targets as ordinary functions. `fuzz/` runs them with libFuzzer; `tests/fuzz_replay.rs` runs the same code
//! on every seed and every regression, with a stable compiler.
//!
//! Each function takes any bytes and panics if an invariant is broken. The functions' docs list the invariants, and
//! `fuzz/README.md` summarises them. What a target compares with (`reference`, `reader`) is written independently of
//! the code under test and as simply as possible.
//!
//! Compiled only with the feature `fuzzing`. Not part of the crate's API.
// These functions panic to report a finding.
#![allow(clippy::missing_panics_doc)]

mod chunked;
mod connection;
mod differential;
mod head;
mod input;
mod prng;
mod proxy_header;
mod reader;
mod reference;
mod response;
mod simd;
mod split;
mod target_path;

pub use chunked::chunked;
pub use connection::connection;
pub use differential::{differential, Reference};
pub use head::head;
pub use proxy_header::proxy_header;
pub use response::response;
pub use simd::simd;
pub use split::split;
pub use target_path::target_path;

/// The name of a target and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target except `differential`, which needs a reference parser as an argument.
pub const TARGETS: &[Target] = &[
    ("head", head),
    ("split", split),
    ("simd", simd),
    ("chunked", chunked),
    ("connection", connection),
    ("response", response),
    ("target_path", target_path),
    ("proxy_header", proxy_header),
];
