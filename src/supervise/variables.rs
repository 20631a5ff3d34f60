//! The environment variables by which a supervisor tells its workers how they serve. Those for sockets and the control
//! protocol belong to `amboss-reload`.

/// Set when open pages are reloaded: the supervisor's own start timestamp.
pub(super) const LIVE_RELOAD: &str = "AMBOSS_LIVE";
/// Set when the supervisor watches files.
pub(super) const RELOADING: &str = "AMBOSS_RELOADING";
/// Set when the supervisor runs several workers.
pub(super) const MULTIPROCESS: &str = "AMBOSS_MULTIPROCESS";
/// The file with the output that the error page shows. Set in the process of the error page.
pub(super) const ERROR_PAGE: &str = "AMBOSS_ERROR_PAGE";
/// How long a worker goes on without its supervisor, in milliseconds.
pub(super) const ORPHAN_TIMEOUT: &str = "AMBOSS_ORPHAN_TIMEOUT";

/// Whether a variable is set.
pub(super) fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}
