//! A worker's relation to its supervisor: request timeouts and limits, and the list of imported files.

pub(crate) mod in_flight;
pub(crate) mod module_reporter;
pub(crate) mod python_sources;
pub(crate) mod watchdog;
