//! Static files over kept-alive connections, compared with nginx and with actix-files, the library that miniserve serves
//! files with. All peers send from the page cache. The rate of the largest file is counted in MiB, because few of them
//! are complete when the load ends.

use crate::benchmark::{Benchmark, Unit};
use crate::file_folder::{FileFolder, SizedFile, LARGE, MEDIUM, SMALL};
use crate::http_client::HttpClient;
use crate::load::Load;
use crate::options::Options;
use crate::peers::{Mode, PEERS};
use crate::result::Result;
use std::io;

/// A file, the numbers of connections, and what is counted.
const CASES: [(SizedFile, &[usize], Unit); 3] =
    [(SMALL, &[16, 64], Unit::Request), (MEDIUM, &[16, 64], Unit::Request), (LARGE, &[1, 4], Unit::Mebibyte)];

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When none of the chosen peers serves files, or the files cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let peers: Vec<_> = options.peers.iter().copied().filter(|peer| peer.has_files).collect();
    if peers.is_empty() {
        let known: Vec<_> = PEERS.iter().filter(|peer| peer.has_files).map(|peer| peer.name).collect();
        return Err(format!("none of these peers is measured with files; choose from {}", known.join(", ")));
    }
    let options = &Options { peers, ..options.clone() };
    let _folder = FileFolder::create()?;
    for (file, connections, unit) in CASES {
        let path = format!("/{}", file.name);
        Benchmark {
            mode: Mode::Files,
            connections,
            check: &|port| check(port, &path, &file).map(|()| None).map_err(|error| error.to_string()),
            unit,
            load: &|port, connections| Load { path: &path, ..Load::new(options, port, connections) },
        }
        .run(options, &format!("Files of {}", file.title))?;
    }
    Ok(())
}

/// Checks that the peer sends the file twice on one connection.
fn check(port: u16, path: &str, file: &SizedFile) -> io::Result<()> {
    let content = file.content();
    let mut client = HttpClient::connect(port)?;
    for _ in 0..2 {
        client.send(path, "", 1)?;
        client.receive_body(&content)?;
    }
    Ok(())
}
