//! Running openssl. What runs other programs comes from `amboss_testkit`.

pub use amboss_testkit::{curl, find_chromium, python, run, run_with_timeout, skip, try_curl, Output};

use crate::support::*;

/// Runs an openssl command, and asserts that it succeeds. Returns `None`, after a [`skip`], when openssl is not
/// installed.
#[track_caller]
pub fn openssl(arguments: &[&str]) -> Option<String> {
    let output = run("openssl", arguments, b"")?;
    assert!(output.success, "openssl {arguments:?}: {}", output.text());
    Some(output.text())
}

/// Sends a request with `openssl s_client`. The output contains the response.
#[track_caller]
pub fn s_client(server: &TestServer, arguments: &[&str]) -> Option<Output> {
    let addr = server.addr.to_string();
    let arguments = [&["s_client", "-connect", &addr, "-servername", "localhost", "-ign_eof"], arguments].concat();
    run("openssl", &arguments, b"GET /environ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}
