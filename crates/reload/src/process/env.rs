//! The environment variables by which a supervisor talks to the processes that it starts.

pub(super) const RUN_MAIN: &str = "AMBOSS_RUN_MAIN";
pub(super) const SERVER_FD: &str = "AMBOSS_SERVER_FD";
pub(super) const CONTROL_FD: &str = "AMBOSS_CONTROL_FD";
pub(super) const GENERATION: &str = "AMBOSS_GENERATION";
/// Set if the child is a spare.
pub(crate) const SPARE: &str = "AMBOSS_CHILD_SPARE";
/// The supervisor's process id; read only by the exec wrapper.
pub(super) const SUPERVISOR: &str = "AMBOSS_CHILD_SUPERVISOR";
/// Appended to the supervisor's process id if the child is to be killed with the supervisor.
pub(super) const KILL_SUFFIX: &str = " KILL";
/// By this variable Werkzeug recognizes the child process of its reloader.
pub(super) const WERKZEUG_RUN_MAIN: &str = "WERKZEUG_RUN_MAIN";
/// The socket on which Werkzeug's own server listens in such a process.
pub(super) const WERKZEUG_SERVER_FD: &str = "WERKZEUG_SERVER_FD";
pub(super) const LISTEN_FDS: &str = "LISTEN_FDS";
pub(super) const LISTEN_PID: &str = "LISTEN_PID";

/// Variables that this process got from its own parent and that do not apply to the programs it starts.
pub(super) const NOT_PASSED_ON: [&str; 13] = [
    RUN_MAIN,
    SERVER_FD,
    CONTROL_FD,
    GENERATION,
    SPARE,
    SUPERVISOR,
    LISTEN_FDS,
    LISTEN_PID,
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    WERKZEUG_RUN_MAIN,
    WERKZEUG_SERVER_FD,
];
