//! See `amboss_core::fuzzing::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::head(data));
