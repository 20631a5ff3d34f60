//! Puts load on a server with `wrk`, whose output is parsed here, or with the client for TLS handshakes.

use crate::handshakes::Handshakes;
use crate::load_report::{LoadReport, CLIENT_CORE};
use crate::options::Options;
use crate::process::{pinned_command, spawn_error};
use crate::result::Result;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// The protocol below HTTP.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// TLS over kept-alive connections.
    Https,
    /// A TLS connection for each request, by the client for handshakes instead of wrk.
    Handshakes(Handshakes),
}

/// A run of a load generator.
pub struct Load<'a> {
    /// The server's port on the loopback interface.
    pub port: u16,
    /// The path of the requests.
    pub path: &'a str,
    /// The number of concurrent connections.
    pub connections: usize,
    /// How long the run takes, in seconds.
    pub seconds: u32,
    /// Whether the load generator runs on a core of its own.
    pub pinned: bool,
    /// The protocol below HTTP. The remaining fields are for wrk only.
    pub scheme: Scheme,
    /// An additional field line, such as `Connection: close`.
    pub field: Option<&'a str>,
    /// A Lua script that generates the requests.
    pub script: Option<&'a Script>,
}

impl<'a> Load<'a> {
    /// Requests for `/` over plain HTTP, with the duration and the pinning of the options.
    pub fn new(options: &Options, port: u16, connections: usize) -> Load<'a> {
        let Options { seconds, pinned, .. } = *options;
        Load { port, path: "/", connections, seconds, pinned, scheme: Scheme::Http, field: None, script: None }
    }

    /// Sends requests until the time is over. wrk uses one thread.
    ///
    /// # Errors
    ///
    /// When wrk is not installed, fails, or prints something unexpected.
    pub fn run(&self) -> Result<LoadReport> {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Handshakes(handshakes) => {
                let duration = Duration::from_secs(self.seconds.into());
                return handshakes.run(self.port, self.connections, duration, self.pinned);
            }
        };
        let mut command = pinned_command("wrk", self.pinned.then_some(CLIENT_CORE));
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
        let output = command.output().map_err(|error| spawn_error(&command, &error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!(
                "wrk failed (is it installed? Debian: apt-get install wrk): {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        parse_wrk_output(&text).ok_or_else(|| format!("wrk printed something unexpected:\n{text}"))
    }
}

fn parse_wrk_output(text: &str) -> Option<LoadReport> {
    let lines = || text.lines().map(str::trim);
    let after = |prefix: &str| lines().find_map(|line| line.strip_prefix(prefix));
    let errors: u64 = after("Socket errors:")
        .into_iter()
        .chain(after("Non-2xx or 3xx responses:"))
        .flat_map(|line| line.split([' ', ',']))
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    // 400100 requests in 4.10s, 50.00MB read
    let (responses, read) = lines().find_map(|line| line.split_once(" requests in "))?;
    Some(LoadReport {
        responses: responses.parse().ok()?,
        rate: after("Requests/sec:")?.trim().parse().ok()?,
        mib: parse_mib(read.split_once(", ")?.1.strip_suffix(" read")?)?,
        mib_rate: parse_mib(after("Transfer/sec:")?.trim())?,
        p99: parse_latency(after("99%")?.trim())?,
        errors,
    })
}

fn parse_latency(text: &str) -> Option<Duration> {
    let (value, unit) = split_unit(text)?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Duration::from_secs_f64(value * seconds))
}

/// wrk writes MB for MiB.
fn parse_mib(text: &str) -> Option<f64> {
    let (value, unit) = split_unit(text)?;
    let exponent = ["B", "KB", "MB", "GB", "TB"].iter().position(|known| *known == unit)?;
    Some(value * 1024_f64.powi(exponent as i32 - 2))
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let (value, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    Some((value.parse().ok()?, unit))
}

/// A Lua script for wrk, in a temporary file that is removed when this is dropped.
pub struct Script(PathBuf);

impl Script {
    /// A script that sends this many requests in one write.
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

    /// A script that sends a POST request with a body of this length.
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

    /// A script whose connections wait between a response and the next request, which bounds the rate.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn waiting(pause: Duration) -> Result<Self> {
        Script::write(&format!("delay = function() return {} end\n", pause.as_millis()))
    }

    fn write(lua: &str) -> Result<Self> {
        let name = format!("amboss-bench-{}.lua", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, lua).map_err(|error| format!("can't write {}: {error}", path.display()))?;
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
    fn sizes_have_binary_units() {
        for (text, mib) in [("1048576.00B", 1.0), ("512.00KB", 0.5), ("2.50GB", 2560.0)] {
            assert_eq!(parse_mib(text), Some(mib), "{text}");
        }
        assert_eq!(parse_mib("1.00"), None);
    }

    #[test]
    fn the_output_of_wrk_is_parsed() {
        let text = "Running 4s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  Latency Distribution\n     \
                    50%  100.00us\n     99%    1.25ms\n  400100 requests in 4.10s, 50.00MB read\n  Socket errors: connect 0, \
                    read 2, write 1, timeout 0\nRequests/sec:  97585.37\nTransfer/sec:     12.20MB\n";
        let report = parse_wrk_output(text).expect("complete");
        assert_eq!(report.responses, 400_100);
        assert_eq!(report.rate, 97_585.37);
        assert_eq!((report.mib, report.mib_rate), (50.0, 12.2));
        assert_eq!(report.p99, Duration::from_micros(1250));
        assert_eq!(report.errors, 3);
    }
}
