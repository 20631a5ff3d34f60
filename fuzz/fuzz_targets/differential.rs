//! Compares with httparse; see `amboss_core::fuzzing::differential`.
#![no_main]

#[path = "../httparse_reference.rs"]
mod httparse_reference;

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::differential(data, httparse_reference::parse));
