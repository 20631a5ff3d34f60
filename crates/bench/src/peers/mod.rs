//! The servers that are compared. Each file contains one, written as its own documentation recommends. All send the
//! same response: 13 bytes of `text/plain` with a `Date`, over a kept-alive connection, without an access log. Three of
//! them speak TLS, too, with the same certificate, resume sessions with tickets, and have a large body. Three serve files.

mod actix;
mod amboss;
mod axum;
mod bare;
mod config;
mod hyper;
mod khttp;
mod may;
pub mod nginx;
mod tiny_http;

use std::io;

pub use config::{Mode, PeerConfig, BODY, LARGE};

/// A server of the comparison.
pub struct Peer {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// Whether the peer runs application code, so that it can serve `/slow`.
    pub has_slow: bool,
    /// Whether the peer supports [`Mode::Tls`].
    pub has_tls: bool,
    /// Whether the peer supports [`Mode::Files`].
    pub has_files: bool,
    /// Serves until the process is killed.
    pub serve: fn(&PeerConfig) -> io::Result<()>,
}

/// The name of the peer that all ratios refer to.
pub const SUBJECT: &str = "amboss";

/// All peers, with the subject first.
pub const PEERS: &[Peer] = &[
    Peer { name: SUBJECT, has_slow: true, has_tls: true, has_files: true, serve: self::amboss::serve },
    Peer { name: "hyper", has_slow: true, has_tls: true, has_files: false, serve: self::hyper::serve },
    Peer { name: "axum", has_slow: true, has_tls: false, has_files: false, serve: self::axum::serve },
    Peer { name: "actix-web", has_slow: true, has_tls: false, has_files: true, serve: self::actix::serve },
    Peer { name: "may_minihttp", has_slow: true, has_tls: false, has_files: false, serve: self::may::serve },
    Peer { name: "khttp", has_slow: true, has_tls: false, has_files: false, serve: self::khttp::serve_threaded },
    Peer { name: "khttp-epoll", has_slow: true, has_tls: false, has_files: false, serve: self::khttp::serve_epoll },
    Peer { name: "tiny_http", has_slow: true, has_tls: false, has_files: false, serve: self::tiny_http::serve },
    Peer { name: "nginx", has_slow: false, has_tls: true, has_files: true, serve: self::nginx::serve },
    Peer { name: "bare", has_slow: false, has_tls: false, has_files: false, serve: self::bare::serve },
];

/// Finds a peer by its name.
pub fn find(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}
