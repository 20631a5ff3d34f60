//! See `amboss_core::fuzzing::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::chunked(data));
