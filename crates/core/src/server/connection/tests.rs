//! The transitions of a connection over an in-memory transport: what the client sends, and the step that the connection
//! returns.

use std::time::Duration;

use super::read_buffer::ReadBuffer;
use super::{Connection, Step};
use crate::server::fixtures::{connection, service, Busy, ScriptedTransport};
use crate::server::handler::BodyMode;
use crate::server::log::CloseReason;
use crate::server::scheduler::{Scheduler, SingleThread};
use crate::server::service::Service;
use crate::server::settings::Settings;
use crate::server::sync::lock;

struct Fixture {
    service: std::sync::Arc<Service>,
    transport: ScriptedTransport,
    connection: Box<Connection>,
    now: u64,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with_settings(|_| {})
    }

    fn with_settings(change: impl FnOnce(&mut Settings)) -> Fixture {
        let (service, transport) = (service(change), ScriptedTransport::default());
        let connection = connection(&service, &transport);
        Fixture { service, transport, connection, now: 0 }
    }

    fn advance(&mut self) -> Step {
        self.advance_with(&mut SingleThread)
    }

    /// Advances as a loop does: with a buffer, and a flush at the end of the batch.
    fn advance_with(&mut self, scheduler: &mut dyn Scheduler) -> Step {
        let settings = &self.service.settings;
        self.connection.attach_buffer(|| ReadBuffer::with_settings(settings));
        let step = self.connection.advance(&self.service, scheduler, true, self.now);
        match step {
            Step::Flush => self.connection.flush(&self.service, self.now),
            step => step,
        }
    }

    fn send(&mut self, text: &str) -> Step {
        self.transport.send(text.as_bytes());
        self.advance()
    }

    /// Closes the client's sending side.
    fn send_end(&mut self) -> Step {
        self.transport.send(b"");
        self.advance()
    }

    fn received(&self) -> String {
        self.transport.received()
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn a_new_connection_is_idle_and_waits_for_a_request() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.advance(), Step::Read);
    assert!(fixture.connection.is_idle() && !fixture.connection.has_partial_request());
}

#[test]
fn a_request_is_answered_and_the_connection_is_idle_again() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.send(GET), Step::Read);
    assert!(fixture.received().starts_with("HTTP/1.1 200 OK\r\n") && fixture.received().ends_with("\r\n\r\n/a"));
    assert!(fixture.connection.is_idle());
    assert_eq!(fixture.connection.answered(), 1);
}

#[test]
fn a_partial_head_has_the_deadline_of_a_head_and_then_408() {
    let mut fixture = Fixture::new();
    fixture.now = 1000;
    assert_eq!(fixture.send("GET /a HT"), Step::Read);
    assert!(fixture.connection.has_partial_request() && !fixture.connection.is_idle());
    assert_eq!(fixture.connection.deadline(&fixture.service), 1000 + 10_000);
    assert_eq!(fixture.connection.time_out(&fixture.service, 11_000), Step::Read);
    assert!(fixture.received().starts_with("HTTP/1.1 408 "), "{}", fixture.received());
    assert_eq!(fixture.connection.close_reason(), Some(CloseReason::HeadTimeout));
    assert_eq!(fixture.connection.lingering(), Some(false));
}

#[test]
fn an_idle_connection_is_closed_without_a_response_after_its_timeout() {
    let mut fixture = Fixture::new();
    fixture.send(GET);
    let before = fixture.received();
    let deadline = fixture.connection.deadline(&fixture.service);
    assert_eq!(deadline, 15_000);
    assert_eq!(fixture.connection.time_out(&fixture.service, deadline), Step::Close);
    assert_eq!((fixture.received(), fixture.connection.close_reason()), (before, Some(CloseReason::Idle)));
}

#[test]
fn connection_close_waits_for_the_client_to_close() {
    let mut fixture = Fixture::new();
    let step = fixture.send("GET /a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(step, Step::AwaitClose);
    assert!(fixture.connection.awaits_close() && lock(&fixture.transport.0).write_shut_down);
    assert_eq!(fixture.send_end(), Step::Close);
    assert_eq!(fixture.connection.close_reason(), None);
}

#[test]
fn malformed_bytes_get_400_and_further_input_is_discarded() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.send("rubbish\r\n\r\n"), Step::Read);
    assert!(fixture.received().starts_with("HTTP/1.1 400 "), "{}", fixture.received());
    assert!(matches!(fixture.connection.close_reason(), Some(CloseReason::Refused(_))));
    let before = fixture.received();
    assert_eq!(fixture.send(GET), Step::Yield);
    assert_eq!(fixture.received(), before);
    assert_eq!(fixture.send_end(), Step::Close);
}

#[test]
fn a_client_that_closes_while_idle_closes_the_connection() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.send_end(), Step::Close);
    assert_eq!((fixture.received().as_str(), fixture.connection.close_reason()), ("", None));
}

#[test]
fn after_32_pipelined_requests_other_connections_go_first() {
    let mut fixture = Fixture::new();
    let step = fixture.send(&GET.repeat(40));
    assert_eq!((step, fixture.connection.answered()), (Step::Yield, 32));
    assert_eq!(fixture.advance(), Step::Read);
    assert_eq!((fixture.connection.answered(), fixture.received().matches("200 OK").count()), (40, 40));
}

#[test]
fn a_queued_request_keeps_the_time_at_which_it_was_queued() {
    let mut fixture = Fixture::with_settings(|settings| settings.timeouts.queued = Duration::from_secs(5));
    fixture.transport.send(GET.as_bytes());
    assert_eq!(fixture.advance_with(&mut Busy), Step::Queued);
    let since = fixture.connection.queued_since().expect("it waits");
    assert_eq!(fixture.advance_with(&mut Busy), Step::Queued);
    assert_eq!(fixture.connection.queued_since(), Some(since), "the wait does not start again");
    assert!(fixture.connection.queue_deadline(&fixture.service) <= fixture.service.now() + 5000);
    assert_eq!(fixture.advance(), Step::Read);
    assert!(fixture.received().ends_with("/a") && fixture.connection.queued_since().is_none());
}

#[test]
fn a_queued_request_can_be_refused_with_503() {
    let mut fixture = Fixture::new();
    fixture.transport.send(GET.as_bytes());
    assert_eq!(fixture.advance_with(&mut Busy), Step::Queued);
    fixture.connection.refuse_unavailable(&fixture.service);
    assert_eq!(fixture.connection.flush(&fixture.service, 0), Step::Read);
    let received = fixture.received();
    assert!(received.starts_with("HTTP/1.1 503 ") && received.contains("Retry-After: 5\r\n"), "{received}");
    assert_eq!(fixture.connection.lingering(), Some(false));
}

#[test]
fn a_body_is_collected_before_the_application_runs() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.send("POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc"), Step::Read);
    assert!(fixture.connection.has_partial_request());
    assert_eq!((fixture.received().as_str(), fixture.connection.answered()), ("", 0));
    assert_eq!(fixture.send("def"), Step::Read);
    assert!(fixture.received().ends_with("/b") && fixture.connection.is_idle());
}

#[test]
fn a_body_that_is_cut_short_never_reaches_the_application() {
    let mut fixture = Fixture::new();
    fixture.send("POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc");
    assert_eq!(fixture.send_end(), Step::Read);
    assert!(fixture.received().starts_with("HTTP/1.1 400 "), "{}", fixture.received());
    assert_eq!(fixture.connection.close_reason(), Some(CloseReason::ClientLeft));
}

#[test]
fn an_unread_body_is_drained_before_the_next_request() {
    let mut fixture = Fixture::with_settings(|settings| settings.body_mode = BodyMode::Stream);
    assert_eq!(fixture.send("POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc"), Step::Read);
    assert!(fixture.received().ends_with("/b"));
    assert!(!fixture.connection.is_idle(), "the rest of the body is still to come");
    assert_eq!(fixture.send(&format!("def{GET}")), Step::Read);
    assert!(fixture.received().ends_with("/a") && fixture.connection.is_idle());
}

#[test]
fn more_of_a_body_than_the_limit_is_not_drained() {
    let mut fixture = Fixture::with_settings(|settings| {
        settings.body_mode = BodyMode::Stream;
        settings.limits.drain = 3;
    });
    assert_eq!(fixture.send("POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nab"), Step::Read);
    assert!(fixture.received().contains("Connection: close\r\n"), "{}", fixture.received());
    assert_eq!(fixture.connection.close_reason(), Some(CloseReason::Undrained));
    assert_eq!(fixture.connection.lingering(), Some(false));
}

#[test]
fn a_slow_client_delays_its_response_until_the_write_timeout() {
    let mut fixture = Fixture::new();
    lock(&fixture.transport.0).takes = Some(1000);
    assert_eq!(fixture.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n"), Step::Write);
    assert!(fixture.connection.is_responding());
    assert!(fixture.connection.deadline(&fixture.service) < u64::MAX);
    lock(&fixture.transport.0).takes = Some(1 << 21);
    assert_eq!(fixture.advance(), Step::Read);
    assert_eq!(fixture.received().split_once("\r\n\r\n").expect("a head").1.len(), 1 << 20);

    lock(&fixture.transport.0).takes = Some(0);
    assert_eq!(fixture.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n"), Step::Write);
    assert_eq!(fixture.connection.time_out(&fixture.service, 60_000), Step::Close);
    assert_eq!(fixture.connection.close_reason(), Some(CloseReason::WriteTimeout));
}

#[test]
fn an_application_failure_is_a_500_and_the_connection_stays_open() {
    for path in ["/fail", "/panic"] {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")), Step::Read);
        assert!(fixture.received().starts_with("HTTP/1.1 500 "), "{path}: {}", fixture.received());
        assert_eq!(fixture.send(GET), Step::Read);
        assert!(fixture.received().ends_with("/a"), "{path}");
    }
}

#[test]
fn a_stopping_server_closes_the_connection_after_its_response() {
    let mut fixture = Fixture::new();
    fixture.service.begin_stop(false);
    assert_eq!(fixture.send(GET), Step::Read);
    assert!(fixture.received().contains("Connection: close\r\n"));
    assert_eq!(fixture.connection.lingering(), Some(false));
}

#[test]
fn a_connection_is_handed_over_unless_a_response_is_being_sent() {
    let mut fixture = Fixture::new();
    fixture.send("GET /a HT");
    assert!(fixture.connection.can_be_handed_over());
    let (read_ahead, body, remains) = fixture.connection.into_idle();
    assert_eq!((read_ahead.as_slice(), body.is_none(), remains.is_none()), (&b"GET /a HT"[..], true, true));

    let mut fixture = Fixture::new();
    lock(&fixture.transport.0).takes = Some(0);
    fixture.send(GET);
    assert!(!fixture.connection.can_be_handed_over(), "a response is being sent");
}

#[test]
fn an_empty_buffer_is_released_and_a_used_one_is_kept() {
    let mut fixture = Fixture::new();
    fixture.send(GET);
    assert!(fixture.connection.release_buffer().is_some());
    fixture.send("GET /a HT");
    assert!(fixture.connection.release_buffer().is_none());
}
