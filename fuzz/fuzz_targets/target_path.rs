//! See `amboss_core::fuzzing::target_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::target_path(data));
