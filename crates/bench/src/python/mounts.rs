//! How servers for Python serve the files of a folder: the server itself, before the application, or a middleware in
//! Python.

use super::bench::Bench;
use super::peers::Peer;
use super::server::Server;
use crate::file_folder::{self, SizedFile};
use crate::http_client::{field, HttpClient};
use crate::result::Result;
use std::io;

/// The folder, in the working directory of the servers.
const FOLDER: &str = "static";

/// A server's way to serve the folder below `/static`.
struct Mount {
    peer: &'static str,
    /// The server's options.
    options: &'static str,
    /// `module:object` of the smallest application.
    hello: &'static str,
    /// `module:object` of the application that computes.
    computing: &'static str,
}

/// Werkzeug's middleware runs in Werkzeug's own server, with a thread per connection, as in `run_simple` with
/// `static_files`: that server closes each connection.
const MOUNTS: &[Mount] = &[
    Mount { peer: "amboss", options: "--static /static=static", hello: "raw:hello", computing: "computing:app" },
    Mount {
        peer: "granian",
        options: "--static-path-route /static --static-path-mount static",
        hello: "raw:hello",
        computing: "computing:app",
    },
    Mount { peer: "werkzeug", options: "", hello: "shared:hello", computing: "shared:total" },
];

/// An application behind the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    /// The smallest application.
    Hello,
    /// A Flask application that computes for about a millisecond.
    Computing,
}

/// Writes the files and installs the packages of the applications.
///
/// # Errors
///
/// When that fails, or none of the peers serves files.
pub fn prepare(bench: &Bench) -> Result<()> {
    if peers(bench).next().is_none() {
        let known: Vec<_> = MOUNTS.iter().map(|mount| mount.peer).collect();
        return Err(format!("none of these peers is measured with files; choose from {}", known.join(", ")));
    }
    bench.venv.require("flask")?;
    file_folder::write_files(&bench.apps.path().join(FOLDER))
}

/// The peers that serve files.
pub fn peers(bench: &Bench) -> impl Iterator<Item = &'static Peer> + '_ {
    bench.peers.iter().copied().filter(|peer| MOUNTS.iter().any(|mount| mount.peer == peer.name))
}

/// Starts a peer with the folder and an application.
///
/// # Errors
///
/// As [`Server::start`], and for a peer that does not serve files.
pub fn start(bench: &Bench, peer: &Peer, app: App, pinned: bool) -> Result<Server> {
    let mount = MOUNTS.iter().find(|mount| mount.peer == peer.name).ok_or("does not serve files")?;
    let command = peer.command.replace("OBJECT", &format!("{} OBJECT", mount.options));
    let object = match app {
        App::Hello => mount.hello,
        App::Computing => mount.computing,
    };
    Server::start(bench, peer.name, &command, object, pinned)
}

/// The path of a file's address.
pub fn path(file: &SizedFile) -> String {
    format!("/{FOLDER}/{}", file.name)
}

/// Checks that the server sends the file, and returns notes for the table.
///
/// # Errors
///
/// When the connection fails, or the response is wrong.
pub fn check(port: u16, file: &SizedFile) -> io::Result<Vec<&'static str>> {
    let mut client = HttpClient::connect(port)?;
    let mut notes = Vec::new();
    client.send(&path(file), "", 1)?;
    let response = client.read_response()?;
    if !response.head.starts_with("http/1.1 200") {
        return Err(io::Error::other(format!("the status is not 200: {}", response.head.trim())));
    }
    if response.body != file.content() {
        return Err(io::Error::other(format!("the content is wrong, after {}", response.head.trim())));
    }
    if field(&response.head, "content-length").is_none() {
        notes.push("sends no Content-Length");
    }
    if field(&response.head, "etag").is_none() {
        notes.push("sends no ETag");
    }
    if client.announced_close {
        notes.push("closes every connection");
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::peers::PEERS;

    #[test]
    fn every_mount_belongs_to_a_peer() {
        for mount in MOUNTS {
            assert!(PEERS.iter().any(|peer| peer.name == mount.peer), "{}", mount.peer);
            assert_eq!(mount.options.is_empty(), !mount.options.contains(FOLDER), "{}", mount.peer);
        }
    }
}
