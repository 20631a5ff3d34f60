//! What all peers have in common: the responses, the modes and the settings.

use std::path::PathBuf;
use std::time::Duration;

/// The body of every response.
pub const BODY: &str = "Hello, World!";

/// The body of the response to `/large` over TLS: 1 MiB.
pub static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];

/// How long `/slow` sleeps.
pub const SLEEP: Duration = Duration::from_millis(100);

/// The purpose that a peer is started for. Most peers serve the first three with the same code; others adapt to the
/// mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Kept-alive connections, and an immediate response.
    Hello,
    /// Each request has `Connection: close`.
    Close,
    /// `/slow` sleeps for [`SLEEP`]; every other path responds immediately.
    Slow,
    /// As [`Mode::Hello`] over TLS, and the response to `/large` is [`LARGE`].
    Tls,
    /// Requests have bodies, and the response is their length. Only the subject supports this mode.
    Upload,
    /// Every path is a file in the folder.
    Files,
}

impl Mode {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Hello => "hello",
            Mode::Close => "close",
            Mode::Slow => "slow",
            Mode::Tls => "tls",
            Mode::Upload => "upload",
            Mode::Files => "files",
        }
    }

    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Mode::Hello, Mode::Close, Mode::Slow, Mode::Tls, Mode::Upload, Mode::Files];
        all.into_iter().find(|mode| mode.name() == name)
    }
}

/// The settings of a peer.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// The port on the loopback interface.
    pub port: u16,
    /// The number of worker threads: as many as there are cores for this process.
    pub workers: usize,
    /// The purpose that the peer is started for.
    pub mode: Mode,
    /// The folder with the files, or with the certificate.
    pub folder: PathBuf,
}

impl PeerConfig {
    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
