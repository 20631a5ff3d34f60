//! Five thousand connections that have been answered once and now say nothing: what do they keep occupied? Kernel memory for
//! the sockets is the same for everybody and not counted.

use crate::check::Client;
use crate::child::Server;
use crate::options::Options;
use crate::peers::{Mode, Peer};
use crate::proc::{self, Memory};
use crate::table::{self, Table};
use crate::Result;

const CONNECTIONS: usize = 5000;

/// Descriptors this process needs besides the connections.
const SPARE: u64 = 64;

struct Growth {
    before: Memory,
    after: Memory,
    lost: usize,
}

impl Growth {
    fn kib_each(&self) -> f64 {
        let grown = self.after.resident_kib as f64 - self.before.resident_kib as f64;
        grown / CONNECTIONS as f64
    }
}

/// Measures and prints.
///
/// # Errors
///
/// When the limit of open files is too low.
pub fn run(options: &Options) -> Result<()> {
    let limit = proc::raise_open_files();
    if limit < CONNECTIONS as u64 + SPARE {
        return Err(format!("idle needs {CONNECTIONS} open files, the limit is {limit}: raise it (ulimit -n)"));
    }
    let mut outcomes: Vec<(&Peer, Result<Vec<Growth>>)> =
        options.peers.iter().map(|&peer| (peer, Ok(Vec::new()))).collect();
    for round in 0..options.rounds {
        for (peer, outcome) in &mut outcomes {
            let Ok(growths) = outcome else { continue };
            eprintln!("idle: round {} of {}, {}", round + 1, options.rounds, peer.name);
            match measure(peer, options) {
                Ok(growth) => growths.push(growth),
                Err(why) => *outcome = Err(why),
            }
        }
    }
    tabulate(&outcomes).print("5,000 idle kept-alive connections");
    Ok(())
}

fn measure(peer: &Peer, options: &Options) -> Result<Growth> {
    let server = Server::start(peer, Mode::Hello, options.pinned)?;
    let ask = |client: &mut Client| {
        client.send("/", "", 1)?;
        client.receive()
    };
    let open = || {
        let mut client = Client::connect(server.port)?;
        ask(&mut client)?;
        Ok(client)
    };
    let failed = |error: std::io::Error| format!("a connection failed: {error}");

    // What a first request sets up once is not the connections' cost.
    open().map_err(failed)?;
    let before = proc::memory(server.pid())?;
    let mut clients = (0..CONNECTIONS)
        .map(|number| open().map_err(|error: std::io::Error| format!("connection {number} failed: {error}")))
        .collect::<Result<Vec<Client>>>()?;
    let after = proc::memory(server.pid())?;
    // An answer over each of them shows that they were kept.
    let lost = clients.iter_mut().filter_map(|client| ask(client).err()).count();
    Ok(Growth { before, after, lost })
}

fn tabulate(outcomes: &[(&Peer, Result<Vec<Growth>>)]) -> Table {
    let mut table = Table::new(&["peer", "threads before", "threads after", "resident before", "KiB per connection"]);
    for (peer, outcome) in outcomes {
        let growths = match outcome {
            Ok(growths) => growths,
            Err(why) => {
                table.absent(peer.name, why);
                continue;
            }
        };
        let middle = |value: &dyn Fn(&Growth) -> f64| table::median(growths.iter().map(value));
        table.row(vec![
            peer.name.into(),
            format!("{:.0}", middle(&|growth| growth.before.threads as f64)),
            format!("{:.0}", middle(&|growth| growth.after.threads as f64)),
            format!("{:.0} KiB", middle(&|growth| growth.before.resident_kib as f64)),
            format!("{:.2}", middle(&Growth::kib_each)),
        ]);
        let lost: usize = growths.iter().map(|growth| growth.lost).sum();
        if lost > 0 {
            table.note(peer.name, &format!("{lost} connections did not answer again"));
        }
    }
    table
}
