//! [`CgiOptions`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amboss_core::{Log, TextLog};

/// The settings of a [`CgiFolder`](super::CgiFolder). Start from [`CgiOptions::default`] and change what you need:
///
/// ```
/// use amboss_toolkit::cgi::CgiOptions;
/// let mut options = CgiOptions::default();
/// options.max_running = 4;
/// options.inherit.push("TZ".into());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct CgiOptions {
    /// The maximum number of scripts that run at once; 32. Each is a process, and an interpreter takes tens of MiB. 0
    /// counts as 1.
    pub max_running: usize,
    /// How long a request waits while [`max_running`](CgiOptions::max_running) scripts run, before it gets 503; 5 s.
    /// A waiting request takes a thread of the server.
    pub queue_timeout: Duration,
    /// How long a script may take until its head is complete, before it is killed and the client gets 504; 30 s. The
    /// time begins when the script starts; while a request body is streamed, it begins at the end of the body.
    pub head_timeout: Duration,
    /// How long a script may run in total, before it is killed and its response is cut; 5 minutes, so that a script
    /// that hangs does not take a slot until the server restarts. Raise it for downloads and event streams;
    /// [`Duration::MAX`] means no limit.
    pub run_timeout: Duration,
    /// How long a script may run on after it has closed its standard output, before it is killed; 3 s, as in Apache. The
    /// response ends when the script has exited, or has written what its Content-Length says.
    pub exit_timeout: Duration,
    /// The maximum length of the head that a script writes, in bytes; 64 KiB. It is kept in memory.
    pub max_head: usize,
    /// The maximum number of fields in that head; 100.
    pub max_fields: usize,
    /// The maximum length of the body that a script writes, in bytes, before it is killed and its response is cut;
    /// 1 GiB. The body is streamed, so the limit is against endless loops.
    pub max_output: u64,
    /// The maximum number of bytes of a script's standard error that are logged for one request; 64 KiB. The rest is
    /// discarded, so that a script can't fill the disk with log entries.
    pub max_error_output: usize,
    /// Whether an exit status other than 0 cuts a response whose end only the exit of the script marks; on. The client
    /// then notices that the script has failed midway. A script that has written its whole Content-Length is not
    /// affected.
    pub check_exit_status: bool,
    /// The names of the variables that scripts inherit from the server's environment; `PATH`. Everything else would give
    /// the secrets of the server to the scripts.
    pub inherit: Vec<String>,
    /// Variables that are added to the environment of each script, such as `DOCUMENT_ROOT`; none.
    pub variables: Vec<(String, String)>,
    /// Whether scripts get the client's credentials as `HTTP_AUTHORIZATION`; off (RFC 3875 §4.1.18 and §9.2).
    pub pass_authorization: bool,
    /// The destination of what scripts write to standard error, and of failures; standard error by default.
    pub log: Arc<dyn Log>,
}

impl Default for CgiOptions {
    fn default() -> CgiOptions {
        CgiOptions {
            max_running: 32,
            queue_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            run_timeout: Duration::from_secs(300),
            exit_timeout: Duration::from_secs(3),
            max_head: 64 * 1024,
            max_fields: 100,
            max_output: 1 << 30,
            max_error_output: 64 * 1024,
            check_exit_status: true,
            inherit: vec!["PATH".into()],
            variables: Vec::new(),
            pass_authorization: false,
            log: Arc::new(TextLog::stderr()),
        }
    }
}

impl fmt::Debug for CgiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CgiOptions")
            .field("max_running", &self.max_running)
            .field("queue_timeout", &self.queue_timeout)
            .field("head_timeout", &self.head_timeout)
            .field("run_timeout", &self.run_timeout)
            .field("exit_timeout", &self.exit_timeout)
            .field("max_head", &self.max_head)
            .field("max_fields", &self.max_fields)
            .field("max_output", &self.max_output)
            .field("max_error_output", &self.max_error_output)
            .field("check_exit_status", &self.check_exit_status)
            .field("inherit", &self.inherit)
            .field("pass_authorization", &self.pass_authorization)
            .finish_non_exhaustive()
    }
}
