//! `response`: no status, field or body that an application gives can split a response.

use std::cell::RefCell;
use std::sync::Arc;

use super::input::{escape, split_prefix};
use super::reader;
use crate::http::{
    allows_body, BodyWriter, HeadEnding, RepeatedEnd, RepeatedHead, ResponseContext, ResponseFraming, ResponseHead,
    ResponsePlan, Version,
};

/// Separates status, fields and body. This byte and [`UNIT`] can't occur in them.
const RECORD: u8 = 0x1e;
/// Separates the name of a field from its value.
const UNIT: u8 = 0x1f;
/// The time of the responses, in Unix seconds.
const SECOND: u64 = 0;
/// The value of the `Server` field.
const SERVER: &str = "anvil";

/// Writes a response and reads it back. The first byte of the input is a set of options. Status, fields and body
/// follow, separated by 0x1E, with 0x1F between the name and the value of a field.
///
/// - A refused head leaves the buffer unchanged.
/// - A head is the same when it repeats one that the thread has written before, and so is its end.
/// - A strict reader reads an accepted response as one head with the same status, the same fields in the same order and
///   no others except framing, date and server, and as one body with the same bytes.
pub fn response(data: &[u8]) {
    let ([option], rest) = split_prefix(data);
    let mut parts = rest.split(|&byte| byte == RECORD);
    let status = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let mut parts: Vec<&[u8]> = parts.collect();
    let body = parts.pop().unwrap_or_default();
    let fields: Vec<(String, &[u8])> = parts
        .iter()
        .map(|part| {
            let at = part.iter().position(|&byte| byte == UNIT).unwrap_or(part.len());
            (String::from_utf8_lossy(&part[..at]).into_owned(), part.get(at + 1..).unwrap_or_default())
        })
        .collect();

    const BEFORE: &[u8] = b"an earlier response";
    let mut out = BEFORE.to_vec();
    let borrowed: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let started = ResponseHead::start(&mut out, &status, borrowed.iter().copied());
    check_repetition(&status, &borrowed, &out[BEFORE.len()..]);
    let Ok(head) = started else {
        assert_eq!(out, BEFORE, "a refused head leaves bytes in the buffer");
        return;
    };
    let version = if option & 1 == 0 { Version::Http11 } else { Version::Http10 };
    let answering = ResponseContext { version, head: option & 2 != 0, keep_alive: option & 4 == 0 };
    let known = (option & 8 == 0).then_some(body.len() as u64);
    let date = crate::http::imf_fixdate(SECOND);
    let date = (option & 16 == 0).then_some(&date);
    let server = (option & 32 == 0).then_some(SERVER);
    let end = out.len();
    let plan = head.finish(&mut out, answering, known, date, server);
    if date.is_some() && server.is_some() {
        check_repeated_end(&head, answering, known, (plan, &out[end..]));
    }
    let mut writer = BodyWriter::new(plan.framing);
    let (first, second) = body.split_at(body.len() / 2);
    writer.append(first, &mut out);
    writer.append(second, &mut out);
    let whole = writer.end(&mut out);
    let wire = &out[BEFORE.len()..];

    let request = reader::RequestInfo { head: answering.head, http11: version == Version::Http11 };
    let read = reader::responses(wire, |_| Some(request))
        .unwrap_or_else(|error| panic!("{error}: {status:?} {fields:?} gave {}", escape(wire)));
    let [seen] = &read[..] else { panic!("{} responses in {}", read.len(), escape(wire)) };

    assert_eq!(seen.status, head.status());
    assert!(status.starts_with(&seen.status.to_string()));
    if status.len() > 3 {
        assert_eq!(escape(&seen.phrase), escape(&status.as_bytes()[4..]));
    }
    check_fields(seen, &fields, head.status());
    assert_eq!(seen.complete, whole, "the writer and the reader disagree on whether the body is whole");
    assert_eq!(writer.written(), if plan.framing == ResponseFraming::Empty { 0 } else { seen.body.len() as u64 });
    assert!(body.starts_with(&seen.body) || plan.framing == ResponseFraming::Empty);
    if matches!(plan.framing, ResponseFraming::Chunked | ResponseFraming::Close) {
        assert_eq!(seen.body, body);
    }
    assert!(allows_body(seen.status) || seen.status == 101 || seen.body.is_empty());
    assert_eq!(plan.keep_alive, !seen.closes, "the plan and the written bytes disagree: {}", escape(wire));
    assert!(!plan.keep_alive || answering.keep_alive);
}

fn check_repetition(status: &str, fields: &[(&str, &[u8])], expected: &[u8]) {
    thread_local! {
        static REPEATED: RefCell<RepeatedHead> = RefCell::default();
    }
    for _ in 0..2 {
        let mut out = Vec::new();
        let started = REPEATED.with_borrow_mut(|repeated| repeated.start(&mut out, status, fields));
        assert_eq!(escape(&out), escape(expected));
        assert!(started.is_ok() || out.is_empty());
    }
}

fn check_repeated_end(
    head: &ResponseHead,
    answering: ResponseContext,
    length: Option<u64>,
    (plan, end): (ResponsePlan, &[u8]),
) {
    thread_local! {
        static REPEATED: RefCell<(RepeatedEnd, Arc<str>)> =
            RefCell::new((RepeatedEnd::default(), crate::http::server_line(SERVER).into()));
    }
    REPEATED.with_borrow_mut(|(repeated, server_line)| {
        let ending = HeadEnding { head, context: answering, length, second: SECOND, server_line };
        for _ in 0..2 {
            let mut out = Vec::new();
            let repeated_plan = repeated.finish(&mut out, &ending);
            assert_eq!(escape(&out), escape(end));
            assert_eq!(repeated_plan, plan);
        }
    });
}

fn check_fields(seen: &reader::Response, fields: &[(String, &[u8])], status: u16) {
    let mut remaining = seen.fields.iter();
    let mut own: Vec<&[u8]> = vec![b"Server", b"Date", b"Content-Length", b"Transfer-Encoding", b"Connection"];
    for (name, value) in fields {
        if matches!(status, 101 | 204 | 205) && name.eq_ignore_ascii_case("content-length") {
            // RFC 9110 §8.6 and §15.3.6: omitted, or written by the server.
            continue;
        }
        let (seen_name, seen_value) = remaining.next().expect("a field is missing");
        assert_eq!(escape(seen_name), escape(name.as_bytes()));
        assert_eq!(escape(seen_value), escape(value.trim_ascii()));
        own.retain(|own| !own.eq_ignore_ascii_case(name.as_bytes()) || name.eq_ignore_ascii_case("connection"));
    }
    // Each of the server's own fields occurs at most once, in the order in which they are written.
    for (name, _) in remaining {
        let at = own.iter().position(|own| own == name);
        let at = at.unwrap_or_else(|| panic!("an unexpected field {}", escape(name)));
        own.drain(..=at);
    }
}
