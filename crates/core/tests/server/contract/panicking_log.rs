//! A log that panics, in a process of its own: entries that it loses go to standard error.

use std::time::Duration;

use super::panics::PANICS;
use crate::server_process::ServerProcess;
use crate::support::*;
use amboss_core::{AccessRecord, Log};

/// A log all of whose functions panic.
pub struct PanickingLog;

impl Log for PanickingLog {
    fn access(&self, _: &AccessRecord<'_>) {
        panic!("panic in access");
    }
    fn error(&self, _: &str) {
        panic!("panic in error");
    }
    fn flush(&self, _: bool) -> Option<Duration> {
        panic!("panic in flush");
    }
    fn sync(&self) {
        panic!("panic in sync");
    }
}

#[test]
fn entries_of_a_panicking_log_go_to_standard_error() {
    for role in ["single panicking", "threads panicking"] {
        let server = ServerProcess::start(role);
        for (path, status, complete, _) in PANICS {
            let response = server.get(path);
            assert_eq!((response.status, response.complete), (*status, *complete), "{role}, {path}: {response:?}");
        }
        assert!(!server.get("/short").complete);
        let mut client = server.connect();
        client.send("garbage\r\n\r\n");
        assert_eq!(client.response().status, 400);
        for _ in 0..2 {
            assert_eq!(server.get("/").text(), "hello");
        }
        let lost = ["panic in the call", "panic after write", "fewer bytes than it had declared"];
        for entry in lost.into_iter().chain(["panic in access", "panic in error", "panic in flush"]) {
            wait_until(&format!("standard error has {entry:?}"), || server.stderr().contains(entry));
        }
        // The first panic of the log is printed with its backtrace, later ones without.
        let stderr = server.stderr();
        let is_frame = |line: &&str| line.contains("PanickingLog as amboss_core::") && line.ends_with("Log>::error");
        let frames = stderr.lines().filter(is_frame).count();
        assert_eq!(frames, 1, "{stderr}");
        assert!(stderr.matches("panic in the log:").count() > 10, "{stderr}");
    }
}
