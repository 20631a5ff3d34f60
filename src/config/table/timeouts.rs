//! How long the server waits: every field of [`amboss_core::Timeouts`].

use super::Setting;
use crate::config::parsers::{size, timeout, timeout_or_zero};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::value(
        "graceful-timeout",
        "SECONDS",
        "How long running requests may take to finish when the server stops, before they are cut off",
        |config, value| timeout(value).map(|time| config.timeouts.shutdown = time),
    )
    .timeout("shutdown")
    .default("10"),
    Setting::value(
        "queue-timeout",
        "SECONDS",
        "How long a complete request may wait for a thread before it is answered with 503; 0 for no limit",
        |config, value| timeout_or_zero(value).map(|time| config.timeouts.queued = time),
    )
    .timeout("queued")
    .default("30"),
    Setting::value(
        "idle-timeout",
        "SECONDS",
        "How long a connection may wait for its first or next request before it is closed",
        |config, value| timeout(value).map(|time| config.timeouts.idle = time),
    )
    .aliases(&["keep-alive"])
    .timeout("idle")
    .default("15"),
    Setting::value(
        "head-timeout",
        "SECONDS",
        "How long the head of a request may take from its first byte, before it is answered with 408",
        |config, value| timeout(value).map(|time| config.timeouts.head = time),
    )
    .timeout("head")
    .default("10"),
    Setting::value(
        "handshake-timeout",
        "SECONDS",
        "How long a TLS handshake or a PROXY header may take from its first byte",
        |config, value| timeout(value).map(|time| config.timeouts.handshake = time),
    )
    .timeout("handshake")
    .default("10"),
    Setting::value(
        "stalled-timeout",
        "SECONDS",
        "How long reading a body or writing a response may make no progress",
        |config, value| timeout(value).map(|time| config.timeouts.stalled = time),
    )
    .timeout("stalled")
    .default("30"),
    Setting::value(
        "minimum-rate",
        "BYTES",
        "Average number of bytes per second that a client has to send of a body or read of a response; 0 for none",
        |config, value| size(value).map(|rate| config.timeouts.minimum_rate = rate),
    )
    .timeout("minimum_rate")
    .default("240"),
    Setting::value(
        "grace",
        "SECONDS",
        "How long a body or a response may take before --minimum-rate applies to it",
        |config, value| timeout(value).map(|time| config.timeouts.grace = time),
    )
    .timeout("grace")
    .default("10"),
    Setting::value(
        "linger",
        "SECONDS",
        "How long the server reads what a client still sends after the last response, so that the client receives the \
         response and not a reset",
        |config, value| timeout(value).map(|time| config.timeouts.linger = time),
    )
    .timeout("linger")
    .default("2"),
];
