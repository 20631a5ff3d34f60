//! The environment variables through which a supervisor tells its workers how to serve. The variables for the sockets
//! and the control protocol belong to `amboss-reload`.

/// The supervisor's start timestamp; set with live reload.
pub(super) const LIVE_RELOAD: &str = "AMBOSS_CHILD_LIVE";
/// Set if the supervisor watches files.
pub(super) const RELOADING: &str = "AMBOSS_CHILD_RELOADING";
/// Set if the supervisor runs several workers.
pub(super) const MULTIPROCESS: &str = "AMBOSS_CHILD_MULTIPROCESS";
/// The path of the file with the output that the error page shows. Set only in the process of the error page.
pub(super) const ERROR_PAGE: &str = "AMBOSS_CHILD_ERROR_PAGE";
/// How long a worker continues without its supervisor, in milliseconds.
pub(super) const ORPHAN_TIMEOUT: &str = "AMBOSS_CHILD_ORPHAN_TIMEOUT";

/// Whether a variable is set.
pub(super) fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}
