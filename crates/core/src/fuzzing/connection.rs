//! `connection`: a client's whole conversation, played to a real [`Connection`] over a transport in memory.
//!
//! The first three bytes are the script (`@`, and two that seed where reads and writes are cut), the rest is what the
//! client sends. Bits of the first byte: 1 Werkzeug's rules, 2 tiny limits, 4 short and blocked reads and writes,
//! 8 the client resets instead of closing, 16 it falls silent instead, 32 it stops taking answers, 64 bodies are streamed
//! instead of collected.
//!
//! What the application does is written in the path ([`app`]); what was served and written is compared with an
//! independent reading of the input ([`reference`](super::reference)) and of the output ([`reader`](super::reader)).

mod app;
mod tape;

use std::sync::{Arc, Mutex};

use self::app::{Fixture, Outcome, Seen};
use self::tape::{Ending, Tape, Transport};
use super::dice::{take, Dice};
use super::reader::{self, Asked, Response};
use super::reference::{self, End, Request};
use super::show;
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
const DEAF: u8 = 32;
const STREAMS: u8 = 64;

/// Plays a conversation.
///
/// - the requests served are, in order, the first of those that the reference reads: same method, target, version and
///   fields, and no byte of a body is ever served as a request;
/// - what the application reads of a body is the beginning of that body, and the whole of it if no error says otherwise;
/// - nothing is served after a request that closes, nor after an answer that closes;
/// - what is written is a sequence of well-formed responses, one framing each, no more of them than requests, in order;
///   an answer the application finished arrives as it was given, and is cut only when the application cut it;
/// - `100 Continue` goes only to requests that ask for it, once, before the answer;
/// - nothing is written after the end was announced, and the connection always comes to an end.
pub fn connection(data: &[u8]) {
    let ([option, a, b], wire) = take(data);
    let lenient = option & LENIENT != 0;
    let expected = reference::requests(wire, lenient);

    let ending = match option {
        _ if option & RESETS != 0 => Ending::Reset,
        _ if option & SILENT != 0 => Ending::Silence,
        _ => Ending::Close,
    };
    let piecemeal = (option & PIECEMEAL != 0).then(|| Dice::new(&[a, b]));
    let deaf_after = (option & DEAF != 0).then_some(usize::from(a) * 16);
    let tape = Arc::new(Mutex::new(Tape::new(wire, ending, piecemeal, deaf_after)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let upgraded = play(option, &tape, &seen, Dice::new(&[b, a]));

    let tape = tape.lock().expect("nobody panicked");
    let seen = seen.lock().expect("nobody panicked");
    assert_eq!(tape.violation, None, "{}", show(data));
    let undisturbed = option & (RESETS | DEAF) == 0;
    check_served(&expected, &seen, wire);
    let asked = |index: usize| {
        if index >= seen.len() {
            // A refusal: always HTTP/1.1, and without a body when the line that it refuses begins with HEAD.
            return (index == seen.len())
                .then(|| Asked { head: is_refused_head(&expected, index, wire, lenient), http11: true });
        }
        let request = &expected[index];
        Some(Asked { head: request.method == b"HEAD", http11: request.http11 })
    };
    let responses = reader::responses(&tape.written, asked)
        .unwrap_or_else(|error| panic!("{error}: {} was answered with {}", show(wire), show(&tape.written)));
    check_answers(&expected, &seen, &responses, undisturbed, &show(wire));
    if let Some(ahead) = upgraded {
        // What the client sent behind its request, and nothing of the request.
        let End::At(end) = expected[seen.len() - 1].body_end else { panic!("upgraded inside a body: {}", show(wire)) };
        assert!(wire[end..].starts_with(&ahead), "{} is not what follows in {}", show(&ahead), show(wire));
    }
}

/// Whether what stands at the place of request `index` begins with the method HEAD, be it a request or not.
fn is_refused_head(expected: &[Request], index: usize, wire: &[u8], lenient: bool) -> bool {
    let start = match index.checked_sub(1).map(|before| expected[before].body_end) {
        None => 0,
        Some(End::At(end)) => end,
        Some(End::Open | End::Malformed) => return false,
    };
    let mut rest = &wire[start..];
    while let Some(next) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n").filter(|_| lenient)) {
        rest = next;
    }
    rest.starts_with(b"HEAD ")
}

/// Does what the server's loop does with a connection. Returns the bytes read ahead when it was upgraded.
fn play(option: u8, tape: &Arc<Mutex<Tape>>, seen: &Arc<Mutex<Vec<Seen>>>, dice: Dice) -> Option<Vec<u8>> {
    let service = service(option, seen);
    let endpoint = Arc::new(Endpoint { name: "fixture".into(), port: "80".into() });
    let transport = Box::new(Transport(tape.clone()));
    let mut connection = Connection::new(transport, std::sync::Weak::<crate::Socket>::new(), endpoint, Peer::Local, 0);
    let mut turn = Thread { dice, varied: option & PIECEMEAL != 0, waited: false };
    let mut spare = None;

    // Each step moves a byte, answers a request or meets "not now", which never comes twice in a row.
    let bound = 100 * (tape.lock().expect("nobody panicked").wire.len() + 1000);
    let mut readable = true;
    for _ in 0..bound {
        connection.attach_buffer(|| {
            let settings = &service.settings;
            spare.take().unwrap_or_else(|| ReadBuffer::new((settings.limits.head, settings.leniency).into()))
        });
        let mut step = connection.advance(&service, &mut turn, readable, 0);
        if step == Step::Flush {
            step = connection.flush(&service, 0);
        }
        spare = connection.release_buffer().or(spare);
        readable = true;
        match step {
            Step::Read | Step::AwaitClose if tape.lock().expect("nobody panicked").is_silent() => {
                connection.attach_buffer(|| {
                    ReadBuffer::new((service.settings.limits.head, service.settings.leniency).into())
                });
                // Its time has come; what it still has to say is said.
                if connection.time_out(&service, u64::MAX / 8) == Step::Close {
                    return None;
                }
            }
            Step::Read | Step::AwaitClose | Step::Write | Step::Yield => {}
            Step::Flush => panic!("settling settles nothing"),
            Step::Queued | Step::Dispatch => readable = false,
            Step::Fork => unreachable!("the turn never asks for it"),
            Step::Upgrade => return connection.into_upgrade().map(|(_, _, ahead)| ahead),
            Step::Close => return None,
        }
    }
    panic!("the connection never ends: {}", show(&tape.lock().expect("nobody panicked").wire));
}

fn service(option: u8, seen: &Arc<Mutex<Vec<Seen>>>) -> Service {
    let mut settings = Settings { log: Arc::new(NoLog), ..Settings::default() };
    if option & LENIENT != 0 {
        settings.leniency = Leniency::werkzeug();
    }
    if option & STREAMS != 0 {
        settings.body_mode = BodyMode::Stream;
    }
    if option & TINY != 0 {
        settings.limits.head = HeadLimits { request_line: 64, header_section: 256, fields: 6 };
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

/// A thread that sometimes leads and sometimes has to wait for its turn.
struct Thread {
    dice: Dice,
    varied: bool,
    waited: bool,
}

impl Scheduler for Thread {
    fn admit(&mut self) -> Admission {
        self.waited = self.varied && !self.waited && self.dice.coin();
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

fn check_served(expected: &[Request], seen: &[Seen], wire: &[u8]) {
    let text = || show(wire);
    assert!(seen.len() <= expected.len(), "served {:#?}\nof {}\nwhich says {expected:#?}", seen, text());
    for (request, seen) in expected.iter().zip(seen) {
        assert_eq!(show(&seen.method), show(&request.method), "{}", text());
        assert_eq!(show(&seen.target), show(&request.target), "{}", text());
        assert_eq!(seen.http11, request.http11, "{}", text());
        assert_eq!(seen.fields, request.fields, "{}", text());
        assert!(request.body.starts_with(&seen.body), "{} was read as the body in {}", show(&seen.body), text());
        if seen.body_ended {
            assert!(matches!(request.body_end, End::At(_)), "a body without an end was read to its end: {}", text());
            assert_eq!(show(&seen.body), show(&request.body), "{}", text());
        }
        assert!(!matches!(seen.outcome, Outcome::Running), "the server panicked inside the application: {}", text());
    }
}

fn check_answers(expected: &[Request], seen: &[Seen], responses: &[Response], undisturbed: bool, text: &str) {
    // One more: the refusal of what can't be served.
    assert!(responses.len() <= seen.len() + 1, "{} answers to {} requests: {text}", responses.len(), seen.len());
    for (index, response) in responses.iter().enumerate() {
        let last = index + 1 == responses.len();
        let asks = expected.get(index).is_some_and(|request| request.expects_continue);
        assert!(response.continues <= usize::from(asks), "100 Continue without being asked: {text}");
        let Some(seen) = seen.get(index) else {
            let whole = response.status >= 400 && response.closes && response.complete;
            assert!(whole || !response.complete && !undisturbed, "not a refusal: {response:?} to {text}");
            continue;
        };
        assert!(response.complete || last);
        // The application's word is the last that HTTP says, and it says nothing.
        assert!(response.status != 101 || response.body.is_empty(), "{response:?} to {text}");
        let request = &expected[index];
        assert!(
            response.closes || !request.closes || !response.complete,
            "kept alive against the client's word: {text}"
        );
        // An answer may leave before its request's body is known to be broken; nothing may after that.
        assert!(last || matches!(request.body_end, End::At(_)), "something follows a broken body: {text}");
        match &seen.outcome {
            Outcome::Running => unreachable!("looked at before"),
            Outcome::Cut => {}
            Outcome::Failed => {
                assert!(response.status >= 400 || !undisturbed && !response.complete, "{response:?} to {text}");
            }
            Outcome::Answered { status, body } => {
                if !response.complete {
                    assert!(last && !undisturbed, "an answer was cut: {response:?} to {text}");
                    assert!(body.starts_with(&response.body));
                    continue;
                }
                assert_eq!(response.status, *status, "{text}");
                let bodiless = request.method == b"HEAD" || !crate::http::allows_body(*status);
                if !bodiless && (undisturbed || !response.closes) {
                    assert_eq!(show(&response.body), show(body), "{text}");
                }
                let number = [index.to_string().into_bytes()];
                assert_eq!(response.get("X-Request"), number, "answers out of order: {text}");
            }
        }
    }
    if undisturbed {
        let cut = seen.last().is_some_and(|seen| matches!(seen.outcome, Outcome::Cut));
        assert!(responses.len() + usize::from(cut) >= seen.len(), "a request without an answer: {text}");
    }
}
