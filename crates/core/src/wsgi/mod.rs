//! The contract between server and application: PEP 3333 in Rust.
//!
//! [`Application`] is the side of the application; [`Environ`], [`Input`], [`StartResponse`] and [`Body`] are what it
//! exchanges with the server. Nothing here knows sockets.

mod application;
mod body;
mod byte_str;
mod client;
mod environ;
mod error;
mod extensions;
mod forwarded;
mod input;
mod peer;
mod response_filter;
mod run_wsgi_app;
mod server_info;
mod start_response;
mod unconnected;

pub use application::Application;
pub use body::Body;
pub(crate) use body::{Blocks, FileBlocks, Kind, OnClose};
pub use byte_str::ByteStr;
pub use client::Client;
pub(crate) use client::Presence;
pub use environ::Environ;
pub use error::{AppError, InputError, InputErrorKind, StartError, StartErrorKind};
pub use extensions::Extensions;
pub(crate) use forwarded::{Forwarded, ForwardingRules};
pub use forwarded::{ForwardedHops, ForwardedHopsError};
pub(crate) use input::Source;
pub use input::{Collected, Input};
pub use peer::Peer;
pub(crate) use peer::Peers;
pub use response_filter::{DetachedId, FailureResponse, ResponseFilter};
pub use run_wsgi_app::{run_wsgi_app, AppResponse, RunAppError, RunAppErrorKind};
pub(crate) use server_info::{ConnectionInfo, ServerInfo};
pub use start_response::StartResponse;
pub use unconnected::{create_environ, EnvironBuilder, EnvironError, EnvironErrorKind, OwnedEnviron};
