//! See `amboss_toolkit::fuzzing::multipart`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_toolkit::fuzzing::multipart(data));
