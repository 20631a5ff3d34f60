//! See `amboss_core::fuzzing::simd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::simd(data));
