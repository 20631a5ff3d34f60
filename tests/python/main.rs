//! The Python package, end to end: its tests are Python (`crates/python/tests`, run by pytest), and this makes them part
//! of `cargo test`.
//!
//! Each file runs with the default `python3`, all of them once more with the oldest and the newest CPython to be found.
//! Virtual environments with what the tests need are made once and kept (`environment`); the package is built and
//! installed as a user would get it (`wheel`). What is missing on a machine is said aloud: "skipped: ...".
#![cfg(unix)]

mod environment;

mod interpreters;

mod suite;

mod wheel;
