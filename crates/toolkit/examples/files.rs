//! Serves a folder: `cargo run --example files [folder [address]]`

use amboss_core::ThreadedWsgiServer;
use amboss_toolkit::files::{Folder, FolderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| ".".into());
    let address = arguments.next().unwrap_or_else(|| "localhost:5000".into());
    let mut options = FolderOptions::default();
    options.listing = true;
    let mut server = ThreadedWsgiServer::bind(&address, Folder::with_options(&path, options)?)?;
    for address in server.local_addrs() {
        println!("{path} is served at http://{address}/");
    }
    Ok(server.serve_forever()?)
}
