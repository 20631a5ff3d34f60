//! CGI (RFC 3875) in both directions: an application as a CGI script, and CGI scripts as an application.
//!
//! | item | purpose |
//! |---|---|
//! | [`run_with_cgi`] | runs an [`Application`](amboss_core::Application) as a CGI script under any web server |
//! | [`CgiFolder`] | an application that runs the scripts of a folder (Unix) |
//!
//! [`CgiFolder`] needs process groups to end a script together with the processes that it has started, so it exists on
//! Unix only.

mod error;
#[cfg(unix)]
mod folder;
mod gateway;
mod output;

pub use error::{CgiError, CgiErrorKind};
#[cfg(unix)]
pub use folder::{kill_scripts, CgiFolder, CgiOptions};
pub use gateway::{run_with_cgi, run_with_cgi_on};
