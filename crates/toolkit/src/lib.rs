//! What stands around a WSGI-shaped application: [`Request`] and [`Response`], forms, routing, middleware, static files,
//! CGI and a test client. Synchronous, without macros.

pub mod cgi;
pub mod client;
mod error;
pub mod files;
pub mod form;
mod headers;
pub mod middleware;
mod negotiation;
mod request;
mod response;
pub mod routing;

pub use error::HttpError;
pub use headers::Headers;
pub use negotiation::{ByteRange, ByteRanges, ETag, ETags, Resolved};
pub use response::Response;
