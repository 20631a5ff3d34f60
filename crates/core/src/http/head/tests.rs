//! Which heads are accepted and which are refused: whole and cut anywhere, with every kernel.

use super::super::error::{Error, ErrorKind};
use super::super::leniency::Leniency;
use super::super::scan::{Backend, Scalar};
use super::*;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn options(lenient: bool) -> HeadOptions {
    HeadOptions { leniency: if lenient { Leniency::werkzeug() } else { Leniency::default() }, ..Default::default() }
}

/// Parses `input` in pieces: the length of the head and the head as text, or an error.
fn parse(
    input: &[u8],
    cuts: &[usize],
    options: HeadOptions,
    kernel: Backend,
) -> Result<Option<(usize, String)>, Error> {
    let mut parser = HeadParser::with_backend(options, kernel);
    for &cut in cuts.iter().chain([&input.len()]) {
        // The bytes after `filled` must not matter.
        let mut buffer = input[..cut].to_vec();
        buffer.extend_from_slice(&[b':', b'\r', b'\n', 0, b'a', 0xff].repeat(12));
        if let Some(length) = parser.parse(&buffer, cut)? {
            let head = parser.head(&buffer);
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            let mut rendered = format!("{} {} {}", text(head.method()), text(head.target()), head.version().as_str());
            for field in head.fields() {
                rendered.push_str(&format!("|{}={}", text(field.name), text(field.value)));
            }
            return Ok(Some((length, rendered)));
        }
    }
    Ok(None)
}

/// Parses the input whole, byte by byte and cut at every position, with every kernel; all results must be equal.
fn parse_every_way(input: &[u8], options: HeadOptions) -> Result<Option<(usize, String)>, Error> {
    let whole = parse(input, &[], options, Backend::Scalar(Scalar));
    for kernel in Backend::all() {
        assert_eq!(parse(input, &[], options, kernel), whole, "{kernel:?}");
        let every: Vec<usize> = (0..input.len()).collect();
        assert_eq!(parse(input, &every, options, kernel), whole, "byte by byte, {kernel:?}");
        if input.len() < 500 {
            for cut in 0..input.len() {
                assert_eq!(parse(input, &[cut], options, kernel), whole, "cut at {cut}, {kernel:?}");
            }
        }
    }
    whole
}

fn accepted(input: &str, lenient: bool, line: &str, fields: Fields) {
    let mut expected = line.to_owned();
    for (name, value) in fields {
        expected.push_str(&format!("|{name}={value}"));
    }
    let length = input.len();
    assert_eq!(parse_every_way(input.as_bytes(), options(lenient)), Ok(Some((length, expected))), "{input:?}");
    let pipelined = format!("{input}GET / HTTP/1.1\r\n");
    let again = parse_every_way(pipelined.as_bytes(), options(lenient)).unwrap().unwrap();
    assert_eq!(again.0, length, "bytes after the head are not part of it");
}

fn refused(input: &[u8], lenient: bool, kind: ErrorKind, position: usize) {
    let seen = parse_every_way(input, options(lenient)).map_err(|error| (error.kind(), error.position()));
    assert_eq!(seen, Err((kind, position)), "{:?}", input.escape_ascii().to_string());
}

#[test]
fn well_formed_heads_are_accepted() {
    for lenient in [false, true] {
        accepted("GET / HTTP/1.1\r\n\r\n", lenient, "GET / HTTP/1.1", &[]);
        accepted("GET / HTTP/1.0\r\nHost: a\r\n\r\n", lenient, "GET / HTTP/1.0", &[("Host", "a")]);
        accepted("\r\n\r\nGET / HTTP/1.1\r\n\r\n", lenient, "GET / HTTP/1.1", &[]);
        accepted("M-SEARCH * HTTP/1.1\r\n\r\n", lenient, "M-SEARCH * HTTP/1.1", &[]);
        accepted("GET /a?b#c HTTP/1.1\r\n\r\n", lenient, "GET /a?b#c HTTP/1.1", &[]);
        accepted(
            "GET / HTTP/1.1\r\nA:b\r\nC: \t d e \t\r\nF:\r\nG: \t \r\nh_i!#$%&'*+-.^`|~0: :\"\r\n\r\n",
            lenient,
            "GET / HTTP/1.1",
            &[("A", "b"), ("C", "d e"), ("F", ""), ("G", ""), ("h_i!#$%&\\'*+-.^`|~0", ":\\\"")],
        );
        // Elements that end at, before and after the edges of 64-byte blocks.
        for length in 1..200 {
            let (long, value) = ("n".repeat(length), "v".repeat(length));
            accepted(
                &format!("GET /{long} HTTP/1.1\r\n{long}: {value}\r\n\r\n"),
                lenient,
                &format!("GET /{long} HTTP/1.1"),
                &[(&long, &value)],
            );
        }
    }
    assert_eq!(
        parse_every_way(b"GET / HTTP/1.1\r\nX: \xff\xe4\r\n\r\n", options(false)),
        Ok(Some((25, "GET / HTTP/1.1|X=\\xff\\xe4".into())))
    );
}

#[test]
fn every_prefix_of_a_head_needs_more_input() {
    let head = b"GET /path HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n";
    for end in 0..head.len() {
        assert_eq!(parse_every_way(&head[..end], options(false)), Ok(None), "{end}");
    }
}

#[test]
fn malformed_request_lines_are_refused_with_their_kind_and_position() {
    use ErrorKind::*;
    for lenient in [false, true] {
        for (input, kind, position) in [
            (&b" GET / HTTP/1.1\r\n\r\n"[..], Method, 0),
            (b"G@T / HTTP/1.1\r\n\r\n", Method, 1),
            (b"G\x00T / HTTP/1.1\r\n\r\n", Method, 1),
            (b"\x16\x03\x01\x02\x00", Method, 0),
            (b"GET\t/ HTTP/1.1\r\n\r\n", Method, 3),
            (b"GET\r\n\r\n", RequestLine, 3),
            (b"GET  / HTTP/1.1\r\n\r\n", Target, 4),
            (b"GET /a\tb HTTP/1.1\r\n\r\n", Target, 6),
            (b"GET /\x00 HTTP/1.1\r\n\r\n", Target, 5),
            (b"GET /\x7f HTTP/1.1\r\n\r\n", Target, 5),
            (b"GET /\r\n\r\n", RequestLine, 5),
            (b"GET / \r\n\r\n", RequestLine, 6),
            (b"GET /  HTTP/1.1\r\n\r\n", RequestLine, 6),
            (b"GET /a b HTTP/1.1\r\n\r\n", RequestLine, 8),
            (b"GET / HTTP/1.1 \r\n\r\n", RequestLine, 14),
            (b"GET / http/1.1\r\n\r\n", RequestLine, 6),
            (b"GET / HTTP/11\r\n\r\n", RequestLine, 6),
            (b"GET / HTTP/1.10\r\n\r\n", RequestLine, 6),
            (b"GET / HTTP/1.1\x00\r\n\r\n", RequestLine, 14),
            (b"GET / HTTP/1.1\r\r\n\r\n", LineEnd, 14),
            (b"\rGET / HTTP/1.1\r\n\r\n", LineEnd, 0),
            (b"GET / HTTP/2.0\r\n\r\n", Version, 6),
            (b"GET / HTTP/1.2\r\n\r\n", Version, 6),
            (b"GET / HTTP/0.9\r\n\r\n", Version, 6),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version, 6),
        ] {
            refused(input, lenient, kind, position);
        }
    }
    refused(b"GET /\xe4 HTTP/1.1\r\n\r\n", false, Target, 5);
    assert_eq!(
        parse_every_way(b"GET /\xe4? HTTP/1.1\r\n\r\n", options(true)),
        Ok(Some((20, "GET /\\xe4? HTTP/1.1".into())))
    );
}

#[test]
fn malformed_field_lines_are_refused_with_their_kind_and_position() {
    use ErrorKind::*;
    let line = "GET / HTTP/1.1\r\n";
    for lenient in [false, true] {
        for (fields, kind, position) in [
            ("A : b\r\n\r\n", SpaceBeforeColon, 1),
            ("A\t: b\r\n\r\n", SpaceBeforeColon, 1),
            (": b\r\n\r\n", FieldName, 0),
            ("A\r\n\r\n", FieldName, 1),
            ("A\0: b\r\n\r\n", FieldName, 1),
            ("A(: b\r\n\r\n", FieldName, 1),
            ("\u{e4}: b\r\n\r\n", FieldName, 0),
            (" A: b\r\n\r\n", LeadingSpace, 0),
            ("\tA: b\r\n\r\n", LeadingSpace, 0),
            ("A: b\0c\r\n\r\n", FieldValue, 4),
            ("A: b\x7f\r\n\r\n", FieldValue, 4),
            ("A: b\x0b\r\n\r\n", FieldValue, 4),
            ("A: b\rc: d\r\n\r\n", LineEnd, 4),
            ("A: b\r\rc: d\r\n\r\n", LineEnd, 4),
            ("A: b\r\n\rc: d\r\n\r\n", LineEnd, 6),
        ] {
            refused(format!("{line}{fields}").as_bytes(), lenient, kind, line.len() + position);
        }
    }
}

#[test]
fn a_bare_lf_needs_leniency() {
    use ErrorKind::LineEnd;
    for (input, position) in [
        ("GET / HTTP/1.1\n\n", 14),
        ("GET / HTTP/1.1\r\nA: b\n\r\n", 20),
        ("GET / HTTP/1.1\r\nA: b\r\n\n", 22),
        ("\nGET / HTTP/1.1\r\n\r\n", 0),
    ] {
        refused(input.as_bytes(), false, LineEnd, position);
    }
    accepted("GET / HTTP/1.1\n\n", true, "GET / HTTP/1.1", &[]);
    accepted("\nGET / HTTP/1.1\nA: b\r\nC: d\n\n", true, "GET / HTTP/1.1", &[("A", "b"), ("C", "d")]);
}

#[test]
fn a_folded_value_needs_leniency_and_keeps_its_white_space() {
    let line = "GET / HTTP/1.1\r\n";
    refused(format!("{line}A: b\r\n c\r\n\r\n").as_bytes(), false, ErrorKind::ObsFold, line.len() + 6);
    for (fields, expected) in [
        ("A: b\r\n c\r\nD: e\r\n\r\n", &[("A", "b c"), ("D", "e")][..]),
        ("A: b \r\n \t c \r\n\r\n", &[("A", "b  \\t c")]),
        ("A: b\r\n c\r\n\td\r\n\r\n", &[("A", "b c\\td")]),
        ("A:\r\n b\r\n\r\n", &[("A", "b")]),
        ("A: b\r\n \r\nC: d\r\n e\r\n\r\n", &[("A", "b"), ("C", "d e")]),
    ] {
        accepted(&format!("{line}{fields}"), true, "GET / HTTP/1.1", expected);
    }
}

#[test]
fn an_exceeded_limit_gives_the_same_status_and_position_wherever_the_input_is_cut() {
    let limits = HeadLimits { request_line: 20, header_section: 20, fields: 2, field: usize::MAX };
    let options = HeadOptions { limits, ..HeadOptions::default() };
    let seen = |input: &str| {
        parse_every_way(input.as_bytes(), options)
            .map(|head| head.is_some())
            .map_err(|error| (error.status(), error.position()))
    };
    assert_eq!(seen("GET /12345 HTTP/1.1\r\n\r\n"), Ok(true));
    assert_eq!(seen("GET /123456 HTTP/1.1\r\n\r\n"), Ok(true));
    assert_eq!(seen("GET /1234567 HTTP/1.1\r\n\r\n"), Err((414, 20)));
    assert_eq!(seen("GET /12345678901234567890"), Err((414, 20)));
    assert_eq!(seen("GETGETGETGETGETGETGETGET"), Err((414, 20)));
    assert_eq!(seen("GETGETGETGETGETGETGET@GET / HTTP/1.1\r\n"), Err((414, 20)));
    assert_eq!(seen("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"), Err((414, 20)));
    let line = "GET / HTTP/1.1\r\n";
    assert_eq!(seen(&format!("{line}A: 345678901234567\r\n\r\n")), Ok(true));
    assert_eq!(seen(&format!("{line}A: 3456789012345678\r\n\r\n")), Err((431, line.len() + 20)));
    assert_eq!(seen(&format!("{line}A: 345678901234567890123")), Err((431, line.len() + 20)));
    assert_eq!(seen(&format!("{line}A3456789012345678901234567890\0")), Err((431, line.len() + 20)));
    assert_eq!(seen(&format!("{line}a:\r\nb:\r\n\r\n")), Ok(true));
    assert_eq!(seen(&format!("{line}a:\r\nb:\r\nc:\r\n\r\n")), Err((431, line.len() + 8)));
}

#[test]
fn a_field_is_measured_without_the_white_space_around_its_value() {
    let options = |leniency| HeadOptions { limits: HeadLimits { field: 6, ..HeadLimits::default() }, leniency };
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (field, error) in [
        ("X: 45678", None),
        ("X:  \t 45678 \t ", None),
        ("X: 456789", Some((431, line.len()))),
        ("Six789: ", None),
        ("Seven89:", Some((431, line.len()))),
        ("A: b\r\nX: 456789", Some((431, line.len() + 6))),
        ("X: 45\r\n 78", None),
        ("X: 45\r\n 7890", Some((431, line.len()))),
    ] {
        let input = format!("{line}{field}\r\n\r\n");
        let seen = parse_every_way(input.as_bytes(), options(Leniency::werkzeug()));
        let seen = seen.map(drop).map_err(|error| (error.status(), error.position())).err();
        assert_eq!(seen, error, "{field:?}");
    }
}

#[test]
fn known_fields_are_recorded_in_any_spelling() {
    let input = b"GET / HTTP/1.1\r\nHOST: a\r\nx: y\r\nconnection: b\r\nCONTENT-length: 3\r\nConnection: c\r\nCookie: d\r\n\r\n";
    let mut parser = HeadParser::new(HeadOptions::default());
    for _ in 0..2 {
        parser.reset();
        parser.parse(input, input.len()).unwrap().unwrap();
        let head = parser.head(input);
        assert_eq!(head.known(Known::Host), Some(&b"a"[..]));
        assert_eq!(head.known(Known::ContentLength), Some(&b"3"[..]));
        assert_eq!(head.known(Known::Expect), None);
        assert!(head.repeated(Known::Connection) && !head.repeated(Known::Host));
        assert_eq!(head.all_known(Known::Connection, "connection").collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(head.get_all("connection").count(), 2);
    }
}
