//! Serves a folder, with a list of its files where it has no `index.html`.
//!
//! Run it with `cargo run -p amboss-toolkit --example files [folder [address]]`, open <http://localhost:5000/>, or try:
//!
//! ```text
//! curl -i localhost:5000/Cargo.toml -r 0-9
//! curl -i localhost:5000/Cargo.toml -H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT'
//! curl -i --path-as-is localhost:5000/../secret
//! ```

use amboss_core::ThreadedWsgiServer;
use amboss_toolkit::files::{Folder, FolderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".into());
    let address = arguments.next().unwrap_or_else(|| "localhost:5000".into());
    let mut options = FolderOptions::default();
    options.listing = true;
    let mut server = ThreadedWsgiServer::bind(&address, Folder::with_options(folder, options)?)?;
    println!("listening on {}", server.local_addrs()[0]);
    Ok(server.serve_forever()?)
}
