//! Checks before a measurement: each peer has to respond correctly, because error responses are fast to produce. They
//! also find out what a peer does not support.

use crate::http_client::HttpClient;
use std::io;
use std::time::Duration;

/// Checks that the peer responds to two requests on one connection.
///
/// # Errors
///
/// When the connection fails or a response is wrong.
pub fn check_keep_alive(port: u16) -> io::Result<()> {
    let mut client = HttpClient::connect(port)?;
    for _ in 0..2 {
        client.send("/", "", 1)?;
        client.receive()?;
    }
    Ok(())
}

/// Checks that the peer responds to all requests of one write.
///
/// # Errors
///
/// When the connection fails, or a response is wrong or missing.
pub fn check_pipelining(port: u16, depth: usize) -> io::Result<()> {
    let mut client = HttpClient::connect(port)?;
    client.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    client.send("/", "", depth)?;
    for number in 0..depth {
        client.receive().map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => io::Error::other(format!("responds to {number} of {depth} pipelined requests")),
            _ => error,
        })?;
    }
    Ok(())
}

/// How a peer ends a connection when the client sent `Connection: close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseBehavior {
    /// The response has `Connection: close`, and the peer closes the connection.
    Correct,
    /// The peer closes the connection, but the response does not have the field.
    Unannounced,
    /// The response has the field, but the peer leaves it to the client to close the connection.
    LeftToClient,
}

/// Sends a request with `Connection: close`, and finds out what the peer does.
///
/// # Errors
///
/// When the response is wrong, or the connection stays open without the field.
pub fn check_close(port: u16) -> io::Result<CloseBehavior> {
    let mut client = HttpClient::connect(port)?;
    client.send("/", "Connection: close\r\n", 1)?;
    client.receive()?;
    client.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    match (client.announced_close, client.is_closed()) {
        (true, true) => Ok(CloseBehavior::Correct),
        (false, true) => Ok(CloseBehavior::Unannounced),
        (true, false) => Ok(CloseBehavior::LeftToClient),
        (false, false) => Err(io::Error::other("ignores Connection: close")),
    }
}
