//! Puts load on a server: runs `wrk` and reads what it prints, or lets the client for handshakes loose.

use crate::child::{could_not_start, pinned_command};
use crate::options::Options;
use crate::tls::client::Handshakes;
use crate::Result;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// The core clients are pinned to.
pub const CORE: usize = 1;

/// What requests go over.
#[derive(Clone, Copy, Debug)]
pub enum Carrier {
    /// TCP alone.
    Clear,
    /// Kept-alive TLS.
    Tls,
    /// A TLS connection of its own for each request, by the client that is here instead of wrk.
    Handshakes(Handshakes),
}

/// One run of a load generator.
pub struct Load<'a> {
    /// The server's loopback port.
    pub port: u16,
    /// The path asked for.
    pub path: &'a str,
    /// Connections held open at the same time.
    pub connections: usize,
    /// How long to ask.
    pub seconds: u32,
    /// On a core of its own.
    pub pinned: bool,
    /// What the requests go over. What is said below is for wrk alone.
    pub carrier: Carrier,
    /// An extra field line, such as `Connection: close`.
    pub field: Option<&'a str>,
    /// A Lua script that makes the requests.
    pub script: Option<&'a Script>,
}

/// What the load generator found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Answers in all.
    pub requests: u64,
    /// Answers per second.
    pub rate: f64,
    /// The latency that 99 % stay under.
    pub p99: Duration,
    /// Socket errors and answers that were not as they should be, which for wrk is 2xx or 3xx.
    pub errors: u64,
}

impl<'a> Load<'a> {
    /// Plain requests for `/`, as long and where the options say.
    pub fn new(options: &Options, port: u16, connections: usize) -> Load<'a> {
        let Options { seconds, pinned, .. } = *options;
        Load { port, path: "/", connections, seconds, pinned, carrier: Carrier::Clear, field: None, script: None }
    }

    /// Asks until the time is over. wrk does it with one thread.
    ///
    /// # Errors
    ///
    /// When wrk is missing, fails, or prints something unexpected.
    pub fn run(&self) -> Result<Found> {
        let scheme = match self.carrier {
            Carrier::Clear => "http",
            Carrier::Tls => "https",
            Carrier::Handshakes(handshakes) => return handshakes.run(self),
        };
        let mut command = pinned_command("wrk", self.pinned.then_some(CORE));
        command
            .args(["-t1", "--latency"])
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds))
            .stdin(Stdio::null());
        if let Some(field) = self.field {
            command.args(["-H", field]);
        }
        if let Some(script) = self.script {
            command.arg("-s").arg(&script.0);
        }
        command.arg(format!("{scheme}://127.0.0.1:{}{}", self.port, self.path));
        let output = command.output().map_err(|error| could_not_start(&command, &error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!(
                "wrk failed (is it installed? Debian: apt-get install wrk): {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        understand(&text).ok_or_else(|| format!("wrk printed something unexpected:\n{text}"))
    }
}

fn understand(text: &str) -> Option<Found> {
    let lines = || text.lines().map(str::trim);
    let after = |prefix: &str| lines().find_map(|line| line.strip_prefix(prefix));
    let errors: u64 = after("Socket errors:")
        .into_iter()
        .chain(after("Non-2xx or 3xx responses:"))
        .flat_map(|line| line.split([' ', ',']))
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    Some(Found {
        requests: lines().find_map(|line| line.split_once(" requests in "))?.0.parse().ok()?,
        rate: after("Requests/sec:")?.trim().parse().ok()?,
        p99: latency(after("99%")?.trim())?,
        errors,
    })
}

fn latency(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let value: f64 = text[..unit].parse().ok()?;
    let seconds = match &text[unit..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(value * seconds))
}

/// A Lua script for wrk in a file of its own. Dropping it removes the file.
pub struct Script(PathBuf);

impl Script {
    /// Sends this many requests in one write.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn pipelining(depth: usize) -> Result<Self> {
        // wrk has set the Host field when it calls init.
        let lua = format!(
            "local all\n\
             init = function(args)\n\
             \tall = string.rep(wrk.format(\"GET\", \"/\"), {depth})\n\
             end\n\
             request = function() return all end\n"
        );
        Script::write(&lua)
    }

    /// Posts this many bytes with each request.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn posting(length: usize) -> Result<Self> {
        Script::write(&format!(
            "wrk.method = \"POST\"\n\
             wrk.body = string.rep(\"x\", {length})\n\
             wrk.headers[\"Content-Type\"] = \"application/octet-stream\"\n"
        ))
    }

    fn write(lua: &str) -> Result<Self> {
        let name = format!("amboss-bench-{}.lua", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, lua).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Script(path))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "Running 4s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  Latency Distribution\n     \
                    50%  100.00us\n     99%    1.25ms\n  400100 requests in 4.10s, 50.00MB read\n  Socket errors: connect 0, \
                    read 2, write 1, timeout 0\nRequests/sec:  97585.37\nTransfer/sec:     12.20MB\n";
        let found = understand(text).expect("complete");
        assert_eq!(found.requests, 400_100);
        assert_eq!(found.rate, 97_585.37);
        assert_eq!(found.p99, Duration::from_micros(1250));
        assert_eq!(found.errors, 3);
    }
}
