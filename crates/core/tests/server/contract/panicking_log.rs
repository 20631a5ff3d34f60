//! A log that panics, in a process of its own: what it loses goes to that one's standard error.

use std::time::Duration;

use super::panics::PANICS;
use crate::helper::Helper;
use crate::support::*;
use amboss_core::{AccessRecord, Log};

/// A log whose every part panics.
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
fn a_log_that_panics_costs_nothing_but_its_entries_which_standard_error_has() {
    for role in ["base panicking", "threads panicking"] {
        let helper = Helper::start(role);
        for (path, status, complete, _) in PANICS {
            let answer = helper.get(path);
            assert_eq!((answer.status, answer.complete), (*status, *complete), "{role}, {path}: {answer:?}");
        }
        assert!(!helper.get("/short").complete);
        let mut client = Client::connect(helper.addr);
        client.send("rubbish\r\n\r\n");
        assert_eq!(client.response().status, 400);
        for _ in 0..2 {
            assert_eq!(helper.get("/").text(), "hello");
        }
        let lost = ["panic in the call", "panic after write", "declared more bytes"];
        for entry in lost.into_iter().chain(["panic in access", "panic in error", "panic in flush"]) {
            eventually(entry, || helper.stderr().contains(entry));
        }
        // Where the log itself panics is told whole once; later only that it did.
        let told = helper.stderr();
        let is_frame = |line: &&str| line.contains("PanickingLog as amboss_core::") && line.ends_with("Log>::error");
        let frames = told.lines().filter(is_frame).count();
        assert_eq!(frames, 1, "{told}");
        assert!(told.matches("panic in the log:").count() > 10, "{told}");
    }
}
