//! Fuzz targets as ordinary functions: `fuzz/` drives them with libFuzzer, and a plain test replays every seed and
//! every regression through the same code on a stable compiler.
//!
//! Each function takes any bytes and panics when an invariant is broken. The invariants stand in the functions'
//! descriptions and, for readers from outside, in `fuzz/README.md`. What a target compares against is written
//! independently and as simply as possible (`reference`, `reader`), never with the code under test.
//!
//! Not part of the crate's interface.
// Panicking is what these functions are for.
#![allow(clippy::missing_panics_doc)]

mod chunked;
mod connection;
mod dice;
mod differential;
mod head;
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
pub use response::response;
pub use simd::simd;
pub use split::split;
pub use target_path::target_path;

/// A target's name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target except `differential`, which has to be given its reference.
pub const TARGETS: &[Target] = &[
    ("head", head),
    ("split", split),
    ("simd", simd),
    ("chunked", chunked),
    ("connection", connection),
    ("response", response),
    ("target_path", target_path),
];

/// Bytes as they may be printed.
fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
