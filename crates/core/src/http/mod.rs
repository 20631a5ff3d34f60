//! HTTP/1.1 without sockets: bytes in, messages out.
//!
//! Nothing here opens a socket, reads the clock or starts a thread, so every part can be used on its own and fuzzed at
//! full speed. A server uses the parts in this order:
//!
//! ```text
//!           bytes                                                     bytes
//!             │                                                         ▲
//!             ▼                                                         │
//!      HeadParser ──► Head ──► Framing ──► ChunkedDecoder        BodyWriter
//!                      │        (or a number of bytes)                  ▲
//!                      └─────► Target                            ResponseHead
//! ```
//!
//! An example that uses all of them:
//!
//! ```
//! use amboss_core::http::*;
//!
//! let input = b"POST /a%20b?q HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
//! let options = HeadOptions::default();
//! let mut parser = HeadParser::new(options);
//! let length = parser.parse(input, input.len())?.expect("the head is complete");
//! let head = parser.head(input);
//!
//! let framing = Framing::of(&head, options.leniency)?;
//! assert_eq!(framing.body, BodyLength::Chunked);
//! let target = Target::of(&head, options.leniency)?;
//! assert_eq!(percent_decode(target.path), &b"/a b"[..]);
//!
//! let mut decoder = ChunkedDecoder::new(ChunkedLimits::default());
//! let step = decoder.decode(&input[length..])?;
//! assert_eq!(&input[length..][step.data], b"hi");
//!
//! let mut out = Vec::new();
//! let answering = ResponseContext { version: head.version(), head: head.method() == b"HEAD", keep_alive: framing.keep_alive };
//! let response = ResponseHead::start(&mut out, "200 OK", [("Content-Type", &b"text/plain"[..])])?;
//! let mut body = BodyWriter::new(response.finish(&mut out, answering, Some(2), None, None).framing);
//! body.append(b"hi", &mut out);
//! assert!(body.end(&mut out));
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`ProxyHeader`] reads what a proxy may send in front of all that (the PROXY protocol).
//!
//! In scope: RFC 9112 for a server, read as strictly as is needed so that the server and a proxy in front of it agree
//! on every message. Out of scope: clients, HTTP/2 and HTTP/3, content codings, caching.
//!
//! The error types have the same structure: a kind, and a message for people (`Display`). [`Error`] is a request that was
//! refused, with the status for the client and a position; [`ResponseError`] is a response head that can't be sent;
//! [`ProxyHeaderError`] says why bytes are not a PROXY header.

mod body_writer;
mod chunked;
mod date;
mod error;
pub(crate) mod forwarded;
mod framing;
pub(crate) mod head;
mod leniency;
mod proxy_header;
mod repeated_end;
mod repeated_head;
mod repeated_host;
mod response;
pub(crate) mod scan;
mod status;
mod syntax;
pub(crate) mod target;
mod version;

pub use body_writer::{BodyWriter, ResponseFraming};
pub use chunked::{encode_chunk, encode_chunk_size, ChunkedDecoder, ChunkedLimits, Decoded, LAST_CHUNK};
pub use date::{imf_fixdate, CivilTime};
pub use error::{Error, ErrorKind, ResponseError, ResponseErrorKind};
pub use framing::{BodyLength, Framing};
pub use head::{Field, Head, HeadLimits, HeadOptions, HeadParser};
pub use leniency::Leniency;
pub use proxy_header::{ProxyHeader, ProxyHeaderError, ProxyHeaderErrorKind};
pub(crate) use repeated_end::{HeadEnding, RepeatedEnd};
pub(crate) use repeated_head::RepeatedHead;
pub(crate) use response::server_line;
pub use response::{is_hop_by_hop, ResponseContext, ResponseHead, ResponsePlan};
pub use status::{allows_body, reason_phrase};
pub use target::{host_is_valid, percent_decode, Target, TargetForm};
pub use version::Version;
