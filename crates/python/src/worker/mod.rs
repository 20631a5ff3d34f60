//! A worker's relation to its supervisor.

pub(crate) mod module_reporter;
pub(crate) mod watchdog;
