//! How much the server accepts and stores: every field of [`amboss_core::Limits`].

use super::Setting;
use crate::config::parsers::{integer, positive_size, size};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::value(
        "limit-request-line",
        "BYTES",
        "Longest request line; a longer one is answered with 414",
        |config, value| positive_size(value).map(|bytes| config.limits.head.request_line = bytes),
    )
    .limit("request_line")
    .default("8K"),
    Setting::value(
        "limit-header-section",
        "BYTES",
        "Longest header section, all fields together; a longer one is answered with 431",
        |config, value| positive_size(value).map(|bytes| config.limits.head.header_section = bytes),
    )
    .limit("header_section")
    .default("64K"),
    Setting::value(
        "limit-request-fields",
        "N",
        "Maximum number of fields in a header section; more are answered with 431",
        |config, value| integer(value, 1..=32_768).map(|fields| config.limits.head.fields = fields),
    )
    .limit("fields")
    .default("100"),
    Setting::value(
        "limit-request-field-size",
        "BYTES",
        "Longest field of a header section, name and value; a longer one is answered with 431",
        |config, value| positive_size(value).map(|bytes| config.limits.head.field = bytes),
    )
    .aliases(&["limit-request-field_size"])
    .limit("field")
    .default_words("none besides --limit-header-section"),
    Setting::value(
        "limit-body",
        "BYTES",
        "Longest request body; a longer one is answered with 413. An application that streams bodies can have its own",
        |config, value| positive_size(value).map(|bytes| config.limits.body = Some(bytes)),
    )
    .limit("body")
    .default_words("none"),
    Setting::value(
        "limit-collected-body",
        "BYTES",
        "Longest request body that is complete before the application is called; a longer one is answered with 413",
        |config, value| positive_size(value).map(|bytes| config.limits.collected_body = bytes),
    )
    .limit("collected_body")
    .default("1G"),
    Setting::value(
        "limit-body-memory",
        "BYTES",
        "Longest collected body that is stored in memory; a longer one goes to a temporary file",
        |config, value| size(value).map(|bytes| config.limits.body_memory = bytes),
    )
    .limit("body_memory")
    .default("16M"),
    Setting::value(
        "limit-bodies-memory",
        "BYTES",
        "Memory that all collected bodies take together before further ones go to temporary files",
        |config, value| size(value).map(|bytes| config.limits.bodies_memory = bytes),
    )
    .limit("bodies_memory")
    .default("64M"),
    Setting::value(
        "limit-body-files",
        "BYTES",
        "Size of all temporary files of collected bodies together; more are answered with 503",
        |config, value| size(value).map(|bytes| config.limits.body_files = bytes),
    )
    .limit("body_files")
    .default("8G"),
    Setting::value(
        "limit-connections",
        "N",
        "Maximum number of open connections; further ones wait in the system's queue",
        |config, value| integer(value, 1..=10_000_000).map(|connections| config.limits.connections = connections),
    )
    .limit("connections")
    .default("10000"),
    Setting::value(
        "limit-client-waits",
        "N",
        "Maximum number of threads, besides --threads, that wait for the client of a streamed body or response",
        |config, value| integer(value, 0..=1_000_000).map(|threads| config.limits.client_waits = threads),
    )
    .limit("client_waits")
    .default("1000"),
    Setting::value(
        "limit-chunk-extensions",
        "BYTES",
        "Length of all chunk extensions of a body together; more are answered with 400",
        |config, value| size(value).map(|bytes| config.limits.chunked.extensions = bytes),
    )
    .limit("chunk_extensions")
    .default("4K"),
    Setting::value(
        "limit-trailers",
        "BYTES",
        "Longest trailer section of a chunked body; a longer one is answered with 400",
        |config, value| size(value).map(|bytes| config.limits.chunked.trailers = bytes),
    )
    .limit("trailers")
    .default("8K"),
    Setting::value(
        "limit-drain",
        "BYTES",
        "How much of a body that the application has not read is read and discarded to keep the connection alive",
        |config, value| size(value).map(|bytes| config.limits.drain = bytes),
    )
    .limit("drain")
    .default("256K"),
    Setting::value(
        "limit-proxy-header",
        "BYTES",
        "Longest PROXY header of version 2",
        |config, value| integer(value, 16..=65_551).map(|bytes| config.limits.proxy_header = bytes),
    )
    .limit("proxy_header")
    .default("2048"),
    Setting::value(
        "limit-unsent",
        "BYTES",
        "Length of complete responses that may wait for a slow client before no further pipelined request of it is read",
        |config, value| size(value).map(|bytes| config.limits.unsent = bytes),
    )
    .limit("unsent")
    .default("64K"),
];
