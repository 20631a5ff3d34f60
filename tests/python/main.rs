//! End-to-end tests of the Python package. They are written in Python (`crates/python/tests`) and run by pytest; this
//! program makes them part of `cargo test`.
//!
//! Each file runs with the default `python3`; most run again with the oldest and the newest CPython that is found. The
//! virtual environments with the requirements are created once and kept (`environment`). The package is built and
//! installed as users get it (`wheel`). If something is missing on a machine, the output says "skipped: ...".
#![cfg(unix)]

mod environment;

mod interpreters;

mod suite;

mod wheel;
