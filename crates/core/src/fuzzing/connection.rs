//! `connection`: the whole conversation of a client with a real [`Connection`] over a transport in memory.
//!
//! The first three bytes of the input are the script: the first is a set of options, the next two seed the positions
//! where reads and writes are cut. The rest is sent by the client. The first byte is `@` plus bits: 1 Werkzeug's rules,
//! 2 tiny limits, 4 short and blocked reads and writes, 8 the client resets the connection instead of closing it, 16 it
//! sends nothing more instead, 32 it stops reading, 64 bodies are streamed instead of collected.
//!
//! The path of a request lists what the application does ([`app`]). The target compares the served requests with an
//! independent reading of the input ([`reference`](super::reference)), and the responses with an independent reading of
//! the output ([`reader`](super::reader)).

mod app;
mod scripted_stream;

use std::sync::{Arc, Mutex};

use self::app::{Fixture, ObservedRequest, Outcome};
use self::scripted_stream::{Ending, ScriptedStream, Transport};
use super::input::{escape, split_prefix};
use super::prng::Prng;
use super::reader::{self, RequestInfo, Response};
use super::reference::{self, BodyEnd, Request};
use crate::http::{ChunkedLimits, HeadLimits, Leniency};
use crate::server::connection::read_buffer::ReadBuffer;
use crate::server::connection::{Connection, Step};
use crate::server::listener::Endpoint;
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::service::Service;
use crate::server::{BodyMode, NoLog, Settings};
use crate::wsgi::{Peer, ServerInfo};

const LENIENT: u8 = 1;
const TINY: u8 = 2;
const PIECEMEAL: u8 = 4;
const RESETS: u8 = 8;
const SILENT: u8 = 16;
const STOPS_READING: u8 = 32;
const STREAMS: u8 = 64;

/// Runs a conversation.
///
/// - The served requests are the first ones that the reference reads, in the same order, with the same method, target,
///   version and fields. No byte of a body is ever served as a request.
/// - The application reads the beginning of the body, and all of it if no error is returned.
/// - No request is served after a request or a response that closes the connection.
/// - The output is a sequence of well-formed responses with one framing each, in the order of the requests, and at most
///   one of them, a refusal, has no request. A response that the application finished arrives complete and as it was
///   given.
/// - `100 Continue` is sent only for a request that expects it, once, before the response.
/// - Nothing is written after the end was announced, and the connection always ends.
pub fn connection(data: &[u8]) {
    let ([option, a, b], wire) = split_prefix(data);
    let lenient = option & LENIENT != 0;
    let expected = reference::requests(wire, lenient);

    let ending = match option {
        _ if option & RESETS != 0 => Ending::Reset,
        _ if option & SILENT != 0 => Ending::Silence,
        _ => Ending::Close,
    };
    let piecemeal = (option & PIECEMEAL != 0).then(|| Prng::new(&[a, b]));
    let stops_reading_after = (option & STOPS_READING != 0).then_some(usize::from(a) * 16);
    let stream = Arc::new(Mutex::new(ScriptedStream::new(wire, ending, piecemeal, stops_reading_after)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let upgraded = drive(option, &stream, &seen, Prng::new(&[b, a]));

    let stream = stream.lock().expect("no thread panicked");
    let seen = seen.lock().expect("no thread panicked");
    assert_eq!(stream.violation, None, "{}", escape(data));
    let client_reads_all = option & (RESETS | STOPS_READING) == 0;
    check_requests(&expected, &seen, wire);
    let request_of = |index: usize| {
        if index >= seen.len() {
            // A refusal: always HTTP/1.1, and without a body if the refused line begins with HEAD.
            return (index == seen.len())
                .then(|| RequestInfo { head: is_refused_head(&expected, index, wire, lenient), http11: true });
        }
        let request = &expected[index];
        Some(RequestInfo { head: request.method == b"HEAD", http11: request.http11 })
    };
    let responses = reader::responses(&stream.written, request_of)
        .unwrap_or_else(|error| panic!("{error}: {} received {}", escape(wire), escape(&stream.written)));
    check_responses(&expected, &seen, &responses, client_reads_all, &escape(wire));
    if let Some(ahead) = upgraded {
        // The bytes that the client sent after its request, and no byte of the request.
        let BodyEnd::At(end) = expected[seen.len() - 1].body_end else {
            panic!("upgraded inside a body: {}", escape(wire))
        };
        assert!(wire[end..].starts_with(&ahead), "{} does not follow the request in {}", escape(&ahead), escape(wire));
    }
}

/// Whether the input at the position of request `index` begins with the method HEAD, whether it is a request or not.
fn is_refused_head(expected: &[Request], index: usize, wire: &[u8], lenient: bool) -> bool {
    let start = match index.checked_sub(1).map(|before| expected[before].body_end) {
        None => 0,
        Some(BodyEnd::At(end)) => end,
        Some(BodyEnd::Truncated | BodyEnd::Malformed) => return false,
    };
    let mut rest = &wire[start..];
    while let Some(next) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n").filter(|_| lenient)) {
        rest = next;
    }
    rest.starts_with(b"HEAD ")
}

/// Drives a connection as the server's event loop does. Returns the bytes that were read ahead if it was upgraded.
fn drive(
    option: u8,
    stream: &Arc<Mutex<ScriptedStream>>,
    seen: &Arc<Mutex<Vec<ObservedRequest>>>,
    prng: Prng,
) -> Option<Vec<u8>> {
    let service = service(option, seen);
    let endpoint = Arc::new(Endpoint { name: "fixture".into(), port: "80".into() });
    let transport = Box::new(Transport(stream.clone()));
    let mut connection = Connection::new(transport, std::sync::Weak::<crate::Socket>::new(), endpoint, Peer::Local, 0);
    let mut scheduler = Thread { prng, varied: option & PIECEMEAL != 0, waited: false };
    let mut spare = None;

    // Each step transfers a byte, answers a request or receives `WouldBlock`, which never occurs twice in a row.
    let bound = 100 * (stream.lock().expect("no thread panicked").wire.len() + 1000);
    let mut readable = true;
    for _ in 0..bound {
        connection.attach_buffer(|| {
            let settings = &service.settings;
            spare.take().unwrap_or_else(|| ReadBuffer::new((settings.limits.head, settings.leniency).into()))
        });
        let mut step = connection.advance(&service, &mut scheduler, readable, 0);
        if step == Step::Flush {
            step = connection.flush(&service, 0);
        }
        spare = connection.release_buffer().or(spare);
        readable = true;
        match step {
            Step::Read | Step::AwaitClose if stream.lock().expect("no thread panicked").is_silent() => {
                connection.attach_buffer(|| {
                    ReadBuffer::new((service.settings.limits.head, service.settings.leniency).into())
                });
                // The deadline has passed; the connection may still have a response to write.
                if connection.time_out(&service, u64::MAX / 8) == Step::Close {
                    return None;
                }
            }
            Step::Read | Step::AwaitClose | Step::Write | Step::Yield => {}
            Step::Flush => panic!("a flush leads to another flush"),
            Step::Queued | Step::Dispatch => readable = false,
            Step::Fork => unreachable!("this scheduler never asks for a fork"),
            Step::Detached => unreachable!("this scheduler has no tasks"),
            Step::Upgrade => return connection.into_upgrade().map(|(_, _, ahead)| ahead),
            Step::Close => return None,
        }
    }
    panic!("the connection does not end: {}", escape(&stream.lock().expect("no thread panicked").wire));
}

fn service(option: u8, seen: &Arc<Mutex<Vec<ObservedRequest>>>) -> Service {
    let mut settings = Settings { log: Arc::new(NoLog), ..Settings::default() };
    if option & LENIENT != 0 {
        settings.leniency = Leniency::werkzeug();
    }
    if option & STREAMS != 0 {
        settings.body_mode = BodyMode::Stream;
    }
    if option & TINY != 0 {
        settings.limits.head = HeadLimits { request_line: 64, header_section: 256, fields: 6, field: 200 };
        settings.limits.chunked = ChunkedLimits { extensions: 16, trailers: 16 };
        settings.limits.body = Some(200);
        settings.limits.collected_body = 150;
        settings.limits.drain = 20;
        settings.limits.unsent = 300;
    }
    let info = ServerInfo {
        software: String::new(),
        shutdown: Box::new(|| {}),
        multithread: false,
        multiprocess: false,
        run_once: false,
    };
    Service::new(Arc::new(Fixture(seen.clone())), settings, info)
}

/// A thread that sometimes owns the event loop and sometimes has to wait for permission.
struct Thread {
    prng: Prng,
    varied: bool,
    waited: bool,
}

impl Scheduler for Thread {
    fn admit(&mut self) -> Admission {
        self.waited = self.varied && !self.waited && self.prng.coin();
        if self.waited {
            Admission::Queue
        } else {
            Admission::Run
        }
    }

    fn exit_blocking(&mut self) -> bool {
        self.varied
    }

    fn holds_loop(&self) -> bool {
        self.varied
    }
}

fn check_requests(expected: &[Request], seen: &[ObservedRequest], wire: &[u8]) {
    let text = || escape(wire);
    assert!(seen.len() <= expected.len(), "{:#?}\nwere served of {}\nwhich holds {expected:#?}", seen, text());
    for (request, seen) in expected.iter().zip(seen) {
        assert_eq!(escape(&seen.method), escape(&request.method), "{}", text());
        assert_eq!(escape(&seen.target), escape(&request.target), "{}", text());
        assert_eq!(seen.http11, request.http11, "{}", text());
        assert_eq!(seen.fields, request.fields, "{}", text());
        assert!(request.body.starts_with(&seen.body), "{} was read as the body in {}", escape(&seen.body), text());
        if seen.body_ended {
            assert!(matches!(request.body_end, BodyEnd::At(_)), "a truncated body was read to its end: {}", text());
            assert_eq!(escape(&seen.body), escape(&request.body), "{}", text());
        }
        assert!(!matches!(seen.outcome, Outcome::Running), "the server panicked inside the application: {}", text());
    }
}

fn check_responses(
    expected: &[Request],
    seen: &[ObservedRequest],
    responses: &[Response],
    client_reads_all: bool,
    text: &str,
) {
    // One more response than requests is allowed: a refusal.
    assert!(responses.len() <= seen.len() + 1, "{} responses to {} requests: {text}", responses.len(), seen.len());
    for (index, response) in responses.iter().enumerate() {
        let last = index + 1 == responses.len();
        let expects_continue = expected.get(index).is_some_and(|request| request.expects_continue);
        assert!(response.continues <= usize::from(expects_continue), "100 Continue without an expectation: {text}");
        let Some(seen) = seen.get(index) else {
            let is_refusal = response.status >= 400 && response.closes && response.complete;
            assert!(is_refusal || !response.complete && !client_reads_all, "not a refusal: {response:?} to {text}");
            continue;
        };
        assert!(response.complete || last);
        // The response to an upgrade is the last one of HTTP, and has no body.
        assert!(response.status != 101 || response.body.is_empty(), "{response:?} to {text}");
        let request = &expected[index];
        assert!(
            response.closes || !request.closes || !response.complete,
            "the connection persists although the client closes it: {text}"
        );
        // A response may be sent before its request's body is known to be malformed. No other response may follow it.
        assert!(last || matches!(request.body_end, BodyEnd::At(_)), "a response follows a malformed body: {text}");
        match &seen.outcome {
            Outcome::Running => unreachable!("check_requests excludes it"),
            Outcome::Aborted => {}
            Outcome::Failed => {
                assert!(response.status >= 400 || !client_reads_all && !response.complete, "{response:?} to {text}");
            }
            Outcome::Responded { status, body } => {
                if !response.complete {
                    assert!(last && !client_reads_all, "a response was cut short: {response:?} to {text}");
                    assert!(body.starts_with(&response.body));
                    continue;
                }
                assert_eq!(response.status, *status, "{text}");
                let bodiless = request.method == b"HEAD" || !crate::http::allows_body(*status);
                if !bodiless && (client_reads_all || !response.closes) {
                    assert_eq!(escape(&response.body), escape(body), "{text}");
                }
                let number = [index.to_string().into_bytes()];
                assert_eq!(response.get("X-Request"), number, "responses are out of order: {text}");
            }
        }
    }
    if client_reads_all {
        let aborted = seen.last().is_some_and(|seen| matches!(seen.outcome, Outcome::Aborted));
        assert!(responses.len() + usize::from(aborted) >= seen.len(), "a request has no response: {text}");
    }
}
