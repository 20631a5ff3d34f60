//! `head`: the parser stays inside any input, and every head that it accepts is one by RFC 9112.

use super::input::escape;
use crate::http::{BodyLength, Framing, Head, HeadOptions, HeadParser, Leniency, Target, TargetForm, Version};

/// Parses the input as a head, strictly and with `Leniency::werkzeug()`.
///
/// - Neither the parser panics, nor [`Framing::of`] and [`Target::of`] on an accepted head.
/// - An error has a status of 4xx or 5xx and a position inside the input.
/// - The length is that of the head: one byte less is incomplete, and the bytes after the head change nothing.
/// - A strictly accepted head consists of its method, target, version and fields in order, with the separators between
///   them and no other byte. Each of them contains only bytes of its class in RFC 9110.
/// - The framing follows from the fields: one length or chunked, never both; one Host.
pub fn head(data: &[u8]) {
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        let options = HeadOptions { leniency, ..HeadOptions::default() };
        let mut parser = HeadParser::new(options);
        let length = match parser.parse(data, data.len()) {
            Ok(Some(length)) => length,
            Ok(None) => continue,
            Err(error) => {
                assert!(error.position() <= data.len(), "the position of an error is beyond the input: {error:?}");
                assert!((400..=599).contains(&error.status()), "{error:?}");
                continue;
            }
        };
        assert!(length <= data.len());
        assert_eq!(parser.parse(data, data.len()), Ok(Some(length)), "a second call gives another result");
        let head = parser.head(data);
        assert_eq!(head.bytes(), &data[..length]);

        let mut shorter = HeadParser::new(options);
        assert_eq!(shorter.parse(&data[..length - 1], length - 1), Ok(None), "the head is complete before its end");
        let mut alone = HeadParser::new(options);
        assert_eq!(
            alone.parse(&data[..length], length),
            Ok(Some(length)),
            "the bytes after the head change the result"
        );

        if leniency == Leniency::default() {
            check_every_byte(&head);
        }
        check_byte_classes(&head, leniency);
        check_framing_and_target(&head, leniency);
    }
}

/// Compares each byte of the head with the parts that the parser reports.
fn check_every_byte(head: &Head<'_>) {
    let bytes = head.bytes();
    let mut at = 0;
    let mut expect = |part: &[u8]| {
        assert!(bytes[at..].starts_with(part), "{:?} at {at} of {}", escape(part), escape(bytes));
        at += part.len();
        at
    };
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start = expect(b"\r\n");
    }
    for part in [head.method(), b" ", head.target(), b" ", head.version().as_str().as_bytes(), b"\r\n"] {
        expect(part);
    }
    assert!(bytes[start..].starts_with(head.request_line()));
    for field in head.fields() {
        expect(field.name);
        let mut at = expect(b":");
        for piece in [field.value, b"\r\n"] {
            while matches!(bytes[at], b' ' | b'\t') && !piece.starts_with(&bytes[at..=at]) {
                let space = [bytes[at]];
                at = expect(&space);
            }
            at = expect(piece);
        }
    }
    let end = expect(b"\r\n");
    assert_eq!(end, bytes.len());
}

fn check_byte_classes(head: &Head<'_>, leniency: Leniency) {
    let token = |bytes: &[u8]| {
        const SPECIAL: &[u8] = b"!#$%&'*+-.^_`|~";
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || SPECIAL.contains(byte))
    };
    assert!(token(head.method()), "{}", escape(head.method()));
    let visible = |byte: &u8| byte.is_ascii_graphic() || leniency.raw_target && *byte >= 0x80;
    assert!(!head.target().is_empty() && head.target().iter().all(visible), "{}", escape(head.target()));
    assert_eq!(head.fields().len(), head.field_count());
    for field in head.fields() {
        assert!(token(field.name), "{}", escape(field.name));
        let allowed = |byte: &u8| *byte == b'\t' || *byte >= 0x20 && *byte != 0x7f;
        assert!(field.value.iter().all(allowed), "{}", escape(field.value));
        let edges = [field.value.first(), field.value.last()];
        assert!(!edges.iter().any(|edge| matches!(edge, Some(b' ' | b'\t'))), "{:?}", escape(field.value));
        let name = String::from_utf8_lossy(field.name);
        assert!(head.get_all(&name).any(|value| value == field.value));
    }
}

fn check_framing_and_target(head: &Head<'_>, leniency: Leniency) {
    let length = head.bytes().len();
    let values = |name: &str| head.get_all(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
    match Framing::of(head, leniency) {
        Err(error) => {
            assert!(error.position() <= length, "{error:?}");
            assert!((400..=599).contains(&error.status()), "{error:?}");
        }
        Ok(framing) => {
            let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
            assert!(lengths.len() <= 1, "two lengths were accepted");
            match framing.body {
                BodyLength::Chunked => {
                    assert_eq!(head.version(), Version::Http11);
                    assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"), "{codings:?}");
                    assert!(lengths.is_empty() || leniency.length_and_chunked && !framing.keep_alive);
                }
                BodyLength::Known(body) => {
                    assert!(codings.is_empty(), "a transfer coding was ignored: {codings:?}");
                    match lengths.first() {
                        None => assert_eq!(body, 0),
                        Some(digits) => {
                            assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{digits:?}");
                            let text = String::from_utf8_lossy(digits);
                            assert_eq!(text.parse(), Ok(body));
                        }
                    }
                    assert!(!framing.expects_continue || body > 0);
                }
            }
            let hosts = values("host");
            if !leniency.any_host {
                assert!(hosts.len() == 1 || head.version() == Version::Http10 && hosts.is_empty(), "{hosts:?}");
            }
            let connection = values("connection");
            let has_option = |word: &[u8]| {
                let mut options = connection.iter().flat_map(|value| value.split(|&byte| byte == b','));
                options.any(|option| option.trim_ascii().eq_ignore_ascii_case(word))
            };
            if has_option(b"close") || head.version() == Version::Http10 && !has_option(b"keep-alive") {
                assert!(!framing.keep_alive, "the connection persists although the client closes it");
            }
        }
    }
    match Target::of(head, leniency) {
        Err(error) => assert!(error.position() <= length, "{error:?}"),
        Ok(target) => {
            let rooted = target.path.starts_with(b"/") && !target.path.starts_with(b"//");
            match target.form {
                TargetForm::Origin | TargetForm::Absolute => assert!(rooted, "{}", escape(target.path)),
                TargetForm::Asterisk => assert_eq!((head.method(), target.path), (&b"OPTIONS"[..], &b"*"[..])),
                TargetForm::Authority => assert_eq!(head.method(), b"CONNECT"),
            }
        }
    }
}
