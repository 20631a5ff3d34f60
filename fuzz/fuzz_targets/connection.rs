//! See `amboss_core::fuzzing::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::connection(data));
