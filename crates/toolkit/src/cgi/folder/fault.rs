//! The reasons why a script's response fails.

use std::process::ExitStatus;
use std::{fmt, io};

use super::head::HeadError;

/// The reason why a response of a script can't be sent, or not to its end.
#[derive(Debug)]
pub(super) enum Fault {
    ClientLeft,
    /// A deadline has passed.
    TimeOut,
    Head(HeadError),
    /// The script has closed its output before the head was complete.
    NoHead(Option<ExitStatus>),
    NoContentType,
    Exit(ExitStatus),
    TooMuchOutput(u64),
    Io(io::Error),
}

impl Fault {
    /// The status for the client, if it has not got another one.
    pub(super) fn status(&self) -> u16 {
        match self {
            // Not registered; known from nginx. The client has left, so only the access log shows it.
            Fault::ClientLeft => 499,
            Fault::TimeOut => 504,
            _ => 502,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::ClientLeft => f.write_str("the client has closed the connection, so it is killed"),
            Fault::TimeOut => {
                f.write_str("it takes too long, so it is killed; the limits are `head_timeout` and `run_timeout`")
            }
            Fault::Head(error) => error.fmt(f),
            Fault::NoHead(Some(status)) => {
                write!(f, "it has ended ({status}) before its head was complete; an empty line ends a head")
            }
            Fault::NoHead(None) => f.write_str("it has closed its output before its head was complete"),
            Fault::NoContentType => f.write_str("it writes a body without the field Content-Type"),
            Fault::Exit(status) => {
                write!(
                    f,
                    "it has failed ({status}) after its head, so the response is cut; `check_exit_status` says so"
                )
            }
            Fault::TooMuchOutput(limit) => {
                write!(f, "it has written more than {limit} bytes (`max_output`), so it is killed")
            }
            Fault::Io(error) => write!(f, "a pipe to it fails: {error}"),
        }
    }
}

impl From<HeadError> for Fault {
    fn from(error: HeadError) -> Fault {
        Fault::Head(error)
    }
}
