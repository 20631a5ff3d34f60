//! What stands around a WSGI-shaped application: [`Request`] and [`Response`], forms, routing, middleware, static files,
//! CGI and a test client. Synchronous, without macros.

pub mod cgi;
pub mod client;
mod cookies;
mod error;
pub mod files;
pub mod form;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod head_path;
mod headers;
mod media_type;
pub mod middleware;
mod multi_dict;
mod negotiation;
mod percent;
mod prefix;
mod request;
mod response;
pub mod routing;

pub use cookie;
pub use error::{abort, HttpError};
pub use headers::Headers;
pub use multi_dict::MultiDict;
pub use negotiation::{ByteRange, ByteRanges, ETag, ETags, Resolved};
pub use request::{request_app, Accept, Request, RequestApp};
pub use response::Response;
