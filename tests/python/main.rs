//! End-to-end tests of the Python package. They are written in Python (`crates/python/tests`) and run by pytest; this
//! program makes them part of `cargo test`.
//!
//! Each file runs with the default `python3`; most run again with the oldest and the newest CPython that is found. The
//! virtual environments with the requirements are created once and kept (`environment`). The package is built and
//! installed as users get it (`wheel`, by pip and maturin). If something is missing on a machine, the output says
//! "skipped: ...".
//!
//! The environments are created with Python's own `venv` and `pip` instead of uv or nox: `cargo test` has to pass on a
//! machine that has only Rust and Python 3, so such a tool would need an environment of its own first, and what remains
//! here (finding interpreters, a cache key, one build at a time) would stay.
#![cfg(unix)]

mod cache;

mod environment;

mod interpreters;

mod suite;

mod wheel;
