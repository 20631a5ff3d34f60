//! The servers that are compared. Each file holds one of them, written the way its own documentation writes a server, and all
//! answer the same: 13 bytes of `text/plain` with a `Date`, over a kept-alive connection, with no access log. Three of them
//! speak TLS, too, with the same certificate, resume sessions by tickets, and know a large body.

mod actix;
mod amboss;
mod axum;
mod bare;
mod hyper;
mod khttp;
mod may;
pub mod nginx;
mod tiny_http;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What every peer answers.
pub const BODY: &str = "Hello, World!";

/// What `/large` is answered with over TLS: 1 MiB.
pub static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];

/// How long `/slow` sleeps.
pub const NAP: Duration = Duration::from_millis(100);

/// What a peer is started for. Most serve the first three with the same code; the word lets the others adapt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Kept-alive connections, the body at once.
    Hello,
    /// Each request arrives with `Connection: close`.
    Close,
    /// `/slow` sleeps for [`NAP`], everything else answers at once.
    Slow,
    /// As [`Mode::Hello`] over TLS, and `/large` answers with [`LARGE`].
    Tls,
    /// Requests have bodies, and the answer is how many bytes that was; only the subject reads them.
    Upload,
}

impl Mode {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Hello => "hello",
            Mode::Close => "close",
            Mode::Slow => "slow",
            Mode::Tls => "tls",
            Mode::Upload => "upload",
        }
    }

    /// The mode a word on the command line stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Mode::Hello, Mode::Close, Mode::Slow, Mode::Tls, Mode::Upload].into_iter().find(|mode| mode.word() == word)
    }
}

/// What a peer has to know to serve.
#[derive(Clone, Debug)]
pub struct Site {
    /// The loopback port to listen on.
    pub port: u16,
    /// As many worker threads as cores this process may use.
    pub workers: usize,
    /// What is going to be asked.
    pub mode: Mode,
    /// Where the certificate lies.
    pub folder: PathBuf,
}

impl Site {
    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// One server of the comparison.
pub struct Peer {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// Whether it runs application code, so that `/slow` means something.
    pub has_slow: bool,
    /// Whether it knows [`Mode::Tls`].
    pub has_tls: bool,
    /// Serves until the process is killed.
    pub serve: fn(&Site) -> io::Result<()>,
}

/// The name of the peer that all ratios are relative to.
pub const SUBJECT: &str = "amboss";

/// All peers, the subject first.
pub const PEERS: &[Peer] = &[
    Peer { name: SUBJECT, has_slow: true, has_tls: true, serve: self::amboss::serve },
    Peer { name: "hyper", has_slow: true, has_tls: true, serve: self::hyper::serve },
    Peer { name: "axum", has_slow: true, has_tls: false, serve: self::axum::serve },
    Peer { name: "actix-web", has_slow: true, has_tls: false, serve: self::actix::serve },
    Peer { name: "may_minihttp", has_slow: true, has_tls: false, serve: self::may::serve },
    Peer { name: "khttp", has_slow: true, has_tls: false, serve: self::khttp::serve_threaded },
    Peer { name: "khttp-epoll", has_slow: true, has_tls: false, serve: self::khttp::serve_epoll },
    Peer { name: "tiny_http", has_slow: true, has_tls: false, serve: self::tiny_http::serve },
    Peer { name: "nginx", has_slow: false, has_tls: true, serve: self::nginx::serve },
    Peer { name: "bare", has_slow: false, has_tls: false, serve: self::bare::serve },
];

/// The peer of that name.
pub fn find(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}
