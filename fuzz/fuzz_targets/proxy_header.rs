//! See `amboss_core::fuzzing::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amboss_core::fuzzing::proxy_header(data));
