//! Tools around a server: what other servers' settings are called here, and files made from them.

pub(crate) mod migrate;
