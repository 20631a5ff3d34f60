//! core
pub mod http;
