//! Middleware: applications that hold another one.
//!
//! | type | what it does |
//! |---|---|
//! | [`AllowedHosts`] | answers only requests for known hosts |
//! | [`Dispatcher`] | passes requests to applications by the prefix of their path |
//! | [`VirtualHosts`] | passes requests to applications by their host |
//! | [`ProxyFix`] | believes a number of proxies, as Werkzeug's middleware does |
//! | [`HeaderFix`] | replaces a header field by another one |
//! | [`Health`] | answers health checks |
//! | [`RequestIdField`] | sends the ID of a request with its response |
//! | [`RootPath`] | tells the application the path that clients find it below |
//! | [`Timing`] | measures requests, in a `Server-Timing` field and in a function of the program |
//! | `Gzip` | compresses responses; feature `gzip` |
//!
//! [`files::StaticFiles`](crate::files) is middleware, too.
//!
//! ```
//! use amboss_core::{create_environ, run_wsgi_app};
//! use amboss_toolkit::middleware::{Dispatcher, Health, HeaderFix};
//! use amboss_toolkit::{request_app, Response};
//!
//! let site = request_app(|request| Ok(Response::text(format!("site on {}\n", request.host()))));
//! let api = request_app(|request| Ok(Response::text(format!("api below {}\n", request.root_path()))));
//! let app = Health::new(HeaderFix::new(Dispatcher::new(site).mount("/api", api)?, "X-FHost", "Host"), "/healthz");
//!
//! let mut owned = create_environ("/api/users", "http://localhost")?;
//! assert_eq!(run_wsgi_app(&app, &mut owned.environ())?.body, b"api below /api\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowed_hosts;
mod dispatcher;
#[cfg(feature = "gzip")]
mod gzip;
mod header_fix;
mod health;
mod host_name;
mod proxy_fix;
mod request_id;
mod root_path;
mod timing;
mod virtual_hosts;

pub use allowed_hosts::AllowedHosts;
pub use dispatcher::{Dispatcher, PrefixError};
#[cfg(feature = "gzip")]
pub use gzip::Gzip;
pub use header_fix::HeaderFix;
pub use health::Health;
pub use host_name::{check_host, HostError};
pub use proxy_fix::{Hops, OriginalRequest, ProxyFix};
pub use request_id::RequestIdField;
pub use root_path::RootPath;
pub use timing::{RequestTime, Timing};
pub use virtual_hosts::VirtualHosts;
