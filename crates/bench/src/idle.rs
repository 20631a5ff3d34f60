//! The threads and the memory of five thousand connections that are idle after one response. The kernel's memory for
//! sockets is the same for all peers and is not counted.

use crate::http_client::HttpClient;
use crate::options::Options;
use crate::peers::{Mode, Peer};
use crate::proc::{self, Memory};
use crate::result::Result;
use crate::server_process::Server;
use crate::table::{self, Table};

const CONNECTIONS: usize = 5000;

/// The number of file descriptors that this process needs besides those of the connections.
const OTHER_FILES: u64 = 64;

/// The memory before and after the connections were opened, and the number of connections that were closed.
struct Growth {
    before: Memory,
    after: Memory,
    closed: usize,
}

impl Growth {
    fn kib_each(&self) -> f64 {
        let grown = self.after.resident_kib as f64 - self.before.resident_kib as f64;
        grown / CONNECTIONS as f64
    }
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// When the limit of open files is too low.
pub fn run(options: &Options) -> Result<()> {
    let limit = proc::raise_open_file_limit();
    if limit < CONNECTIONS as u64 + OTHER_FILES {
        return Err(format!("idle needs {CONNECTIONS} open files, but the limit is {limit}; raise it (ulimit -n)"));
    }
    let mut outcomes: Vec<(&Peer, Result<Vec<Growth>>)> =
        options.peers.iter().map(|&peer| (peer, Ok(Vec::new()))).collect();
    for round in 0..options.rounds {
        for (peer, outcome) in &mut outcomes {
            let Ok(growths) = outcome else { continue };
            eprintln!("idle: round {} of {}, {}", round + 1, options.rounds, peer.name);
            match measure(peer, options) {
                Ok(growth) => growths.push(growth),
                Err(reason) => *outcome = Err(reason),
            }
        }
    }
    tabulate(&outcomes).print("5,000 idle kept-alive connections");
    Ok(())
}

fn measure(peer: &Peer, options: &Options) -> Result<Growth> {
    let server = Server::start(peer, Mode::Hello, options.pinned)?;
    let request = |client: &mut HttpClient| {
        client.send("/", "", 1)?;
        client.receive()
    };
    let open = || {
        let mut client = HttpClient::connect(server.port)?;
        request(&mut client)?;
        Ok(client)
    };
    let failed = |error: std::io::Error| format!("a connection failed: {error}");

    // The first request allocates memory once, which is not part of the cost of a connection.
    open().map_err(failed)?;
    let before = proc::memory(server.pid())?;
    let mut clients = (0..CONNECTIONS)
        .map(|number| open().map_err(|error: std::io::Error| format!("connection {number} failed: {error}")))
        .collect::<Result<Vec<HttpClient>>>()?;
    let after = proc::memory(server.pid())?;
    // A second response shows that a connection was kept open.
    let closed = clients.iter_mut().filter_map(|client| request(client).err()).count();
    Ok(Growth { before, after, closed })
}

fn tabulate(outcomes: &[(&Peer, Result<Vec<Growth>>)]) -> Table {
    let mut table = Table::new(&["peer", "threads before", "threads after", "resident before", "KiB per connection"]);
    for (peer, outcome) in outcomes {
        let growths = match outcome {
            Ok(growths) => growths,
            Err(reason) => {
                table.missing_row(peer.name, reason);
                continue;
            }
        };
        let median = |value: &dyn Fn(&Growth) -> f64| table::median(growths.iter().map(value));
        table.row(vec![
            peer.name.into(),
            format!("{:.0}", median(&|growth| growth.before.threads as f64)),
            format!("{:.0}", median(&|growth| growth.after.threads as f64)),
            format!("{:.0} KiB", median(&|growth| growth.before.resident_kib as f64)),
            format!("{:.2}", median(&Growth::kib_each)),
        ]);
        let closed: usize = growths.iter().map(|growth| growth.closed).sum();
        if closed > 0 {
            table.note(peer.name, &format!("{closed} connections gave no second response"));
        }
    }
    table
}
