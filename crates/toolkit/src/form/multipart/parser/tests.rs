//! Bodies that are accepted and refused, in any pieces; each known attack.

use super::*;

/// A part: its name, its file name and its data.
type Part = (String, Option<String>, Vec<u8>);

/// Parses a body whose boundary is `b` and that arrives in pieces which end at these positions.
fn parse_cut(body: &[u8], cuts: impl IntoIterator<Item = usize>, limits: &FormLimits) -> Result<Vec<Part>, String> {
    parse_with(&mut new_parser(limits), body, cuts).map_err(|error| format!("{:?} {}", error.kind(), error.status()))
}

fn new_parser(limits: &FormLimits) -> Parser {
    Parser::new(Delimiter::new(b"b").unwrap(), limits)
}

fn parse_with(parser: &mut Parser, body: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<Vec<Part>, FormError> {
    let (mut parts, mut at, mut open) = (Vec::<Part>::new(), 0, false);
    for end in cuts.into_iter().chain([body.len()]) {
        loop {
            let step = parser.step(&body[at..end])?;
            match step.event {
                None => {
                    at += step.consumed;
                    break;
                }
                Some(Event::Part(head, _)) => {
                    assert!(!std::mem::replace(&mut open, true), "a part begins in a part");
                    parts.push((head.name, head.filename, Vec::new()));
                }
                Some(Event::Data(range)) => {
                    assert!(open && !range.is_empty() && range.end <= step.consumed);
                    parts.last_mut().unwrap().2.extend_from_slice(&body[at..end][range]);
                }
                Some(Event::PartEnd) => assert!(std::mem::take(&mut open), "a part ends that did not begin"),
                Some(Event::End) => return Ok(parts),
            }
            at += step.consumed;
        }
    }
    parser.finish(&body[at..])?;
    Ok(parts)
}

/// Parses a body whole, byte by byte and with each single cut; all results have to be the same.
fn parse(body: &[u8]) -> Result<Vec<Part>, String> {
    let limits = FormLimits::default();
    let whole = parse_cut(body, [], &limits);
    assert_eq!(parse_cut(body, 0..body.len(), &limits), whole, "byte by byte: {}", body.escape_ascii());
    for cut in 0..body.len().min(400) {
        assert_eq!(parse_cut(body, [cut], &limits), whole, "cut at {cut}: {}", body.escape_ascii());
    }
    whole
}

/// A part with a field.
fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

const FIELD: &str = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n";
const FILE: &str = "--b\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\n";

/// A pseudo-random number below a bound (xorshift).
fn random(state: &mut u64, bound: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize % bound
}

#[test]
fn well_formed_bodies_give_their_parts() {
    let cases: &[(&str, &[&str])] = &[
        ("--b--\r\n", &[]),
        ("--b--", &[]),
        ("\r\n--b--\r\n", &[]),
        ("{F}1\r\n--b--\r\n", &["1"]),
        ("{F}1\r\n{F}2\r\n--b--\r\n", &["1", "2"]),
        ("{F}\r\n--b--\r\n", &[""]),
        // The CR LF of the empty line is that of the delimiter as well (RFC 2046 §5.1.1: `[CRLF *OCTET]`).
        ("{F}--b--\r\n", &[""]),
        ("{F}{F}1\r\n--b--\r\n", &["", "1"]),
        ("{F}\r\n\r\n\r\n--b--\r\n", &["\r\n\r\n"]),
        ("{F}1\r\n2\r\n-\r\n--\r\n--a\r\n --b\r\n--b--\r\n", &["1\r\n2\r\n-\r\n--\r\n--a\r\n --b"]),
        ("{F}1\n--b\n\r--b\r\r\n--b--\r\n", &["1\n--b\n\r--b\r"]),
        ("{F}1 --b--\r\n--b--\r\n", &["1 --b--"]),
        // A preamble and an epilogue.
        ("preamble\r\n\r\n{F}1\r\n--b--\r\nepilogue\r\n--b\r\n", &["1"]),
        ("x--b\r\n{F}1\r\n--b--\r\n--b", &["1"]),
        // Transport padding.
        ("--b \t \r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b-- \t\r\n", &["1"]),
        ("{F}1\r\n--b--  ", &["1"]),
    ];
    for (body, values) in cases {
        let body = body.replace("{F}", FIELD);
        let parts = values.iter().map(|value| ("a".to_owned(), None, value.as_bytes().to_vec())).collect();
        assert_eq!(parse(body.as_bytes()), Ok(parts), "{body:?}");
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let cases = [
        // A boundary in the data that is followed by neither CR LF nor `--`.
        ("{F}1\r\n--bc\r\n--b--\r\n", "Delimiter 400"),
        ("{F}1\r\n--b-\r\n--b--\r\n", "Delimiter 400"),
        ("{F}1\r\n--b--x\r\n", "Delimiter 400"),
        ("{F}1\r\n--b x\r\n", "Delimiter 400"),
        ("--bx\r\n", "Delimiter 400"),
        ("{F}--bx", "Delimiter 400"),
        // Lines that end with LF.
        ("--b\nContent-Disposition: form-data; name=a\n\n1\n--b--\n", "Delimiter 400"),
        ("--b\r\nContent-Disposition: form-data; name=a\n\r\n1\r\n--b--\r\n", "PartHeader 400"),
        ("--b\r\n\n", "PartHeader 400"),
        ("{F}1\r\n--b--\n", "Delimiter 400"),
        ("{F}1\n--b--\n", "Truncated 400"),
        ("--b\r\r\n", "Delimiter 400"),
        // Nothing that is a form.
        ("", "Truncated 400"),
        ("a=b", "Truncated 400"),
        ("--c--\r\n", "Truncated 400"),
        // Header sections.
        ("--b\r\n\r\n1\r\n--b--\r\n", "Disposition 400"),
        ("--b\r\nContent-Disposition: form-data; name=a\r\n--b--\r\n", "Truncated 400"),
        ("--b\r\nContent-Disposition: form-data; name=a\r\n--b: c\r\n\r\n1\r\n--b--\r\n", "Delimiter 400"),
    ];
    for (body, error) in cases {
        assert_eq!(parse(body.replace("{F}", FIELD).as_bytes()), Err(error.to_owned()), "{body:?}");
    }
}

#[test]
fn a_body_without_its_last_boundary_is_never_accepted() {
    let body = [field("a", "1"), format!("{FILE}data\r\n--b--")].concat();
    for end in 0..body.len() {
        assert_eq!(parse(&body.as_bytes()[..end]), Err("Truncated 400".to_owned()), "{:?}", &body[..end]);
    }
    assert!(parse(body.as_bytes()).is_ok());
}

#[test]
fn the_content_length_of_a_part_is_ignored() {
    let body = FIELD.replace("\r\n\r\n", "\r\nContent-Length: 99999999999999999999\r\n\r\n") + "1\r\n--b--\r\n";
    assert_eq!(parse(body.as_bytes()), Ok(vec![("a".to_owned(), None, b"1".to_vec())]));
}

#[test]
fn the_parts_do_not_depend_on_random_cuts() {
    const PIECES: [&str; 10] = ["\r", "\n", "\r\n", "--b", "\r\n--", "\r\n--b", "x", FIELD, FILE, "--\r\n"];
    let (limits, mut state) = (FormLimits::default(), 0x2545_f491_4f6c_dd1d);
    let mut accepted = 0;
    for _ in 0..4000 {
        let mut body = FIELD.to_owned();
        for _ in 0..random(&mut state, 8) {
            body += PIECES[random(&mut state, PIECES.len())];
        }
        body += "\r\n--b--\r\n";
        let whole = parse_cut(body.as_bytes(), [], &limits);
        accepted += usize::from(whole.is_ok());
        for _ in 0..4 {
            let mut cuts: Vec<usize> = (0..random(&mut state, 6)).map(|_| random(&mut state, body.len() + 1)).collect();
            cuts.sort_unstable();
            assert_eq!(parse_cut(body.as_bytes(), cuts.clone(), &limits), whole, "{body:?} cut at {cuts:?}");
        }
    }
    assert!((1000..3900).contains(&accepted), "the bodies are too much alike: {accepted}");
}

#[test]
fn cve_2023_46136_a_file_of_cr_or_of_beginnings_of_the_boundary_takes_linear_time() {
    // The first bytes of the file, and the bytes that are repeated after them.
    let patterns = [
        ("\r", "x"),
        ("\n", "x"),
        ("\r\n", "x"),
        ("", "\r"),
        ("", "\r\n"),
        ("", "\r\n-"),
        ("", "\r\n--"),
        ("", "\r\r\n--"),
        ("", "\n"),
    ];
    for (first, pattern) in patterns {
        for piece in [1, 3, 100, 64 * 1024] {
            let mut work = Vec::new();
            for length in [20_000, 40_000, 80_000] {
                let data = first.to_owned() + &pattern.repeat(length)[..length];
                let body = format!("{FILE}{data}x\r\n--b--\r\n");
                let mut parser = new_parser(&FormLimits::default());
                let cuts = (1..body.len().div_ceil(piece)).map(|n| n * piece);
                let parts = parse_with(&mut parser, body.as_bytes(), cuts).unwrap();
                assert_eq!(parts[0].2.len(), data.len() + 1);
                work.push(parser.search.comparisons);
            }
            assert!(work[2] <= 7 * 80_000, "{first:?} {pattern:?} in pieces of {piece}: {work:?} comparisons");
            assert!(work[2] < 3 * work[1] && work[1] < 3 * work[0], "{first:?} {pattern:?} in pieces of {piece}");
        }
    }
}

#[test]
fn cve_2023_25577_the_number_of_parts_is_limited() {
    let body = |count| field("a", "1").repeat(count) + "--b--\r\n";
    let limits = FormLimits::default();
    assert_eq!(parse_cut(body(1000).as_bytes(), [], &limits).map(|parts| parts.len()), Ok(1000));
    assert_eq!(parse_cut(body(1001).as_bytes(), [], &limits), Err("TooManyParts(1000) 413".to_owned()));
}

#[test]
fn cve_2024_53981_bytes_before_the_first_boundary_are_skipped_at_once_and_limited() {
    let limits = FormLimits::default();
    for line in ["\r\n", "x", "\r", "\n"] {
        let preamble = line.repeat(8000 / line.len());
        let mut parser = new_parser(&limits);
        let step = parser.step(preamble.as_bytes()).unwrap();
        assert!(step.event.is_none() && step.consumed + 2 >= preamble.len(), "one step skips {line:?}");
        let body = format!("{preamble}\r\n{FIELD}1\r\n--b--\r\n");
        assert_eq!(parse_cut(body.as_bytes(), [], &limits).map(|parts| parts.len()), Ok(1));
        for cuts in [vec![], (1..20_000).collect()] {
            let refused = parse_cut(line.repeat(20_000).as_bytes(), cuts, &limits);
            assert_eq!(refused, Err("Preamble(8192) 400".to_owned()), "{line:?}");
        }
    }
}

#[test]
fn the_epilogue_is_not_read() {
    let body = format!("{FIELD}1\r\n--b--\r\n");
    let mut parser = new_parser(&FormLimits::default());
    let input = body.clone() + &"\r\n--b\r\n".repeat(1000);
    assert_eq!(parse_with(&mut parser, input.as_bytes(), []).unwrap().len(), 1);
    let step = parser.step(&input.as_bytes()[body.len()..]).unwrap();
    assert!(matches!(step, Step { consumed: 0, event: Some(Event::End) }));
}

#[test]
fn the_headers_of_a_part_are_limited_in_size_and_number() {
    let limits = FormLimits::default();
    let body =
        |headers: &str| format!("{}{headers}\r\n1\r\n--b--\r\n", FIELD.trim_end_matches("\r\n").to_owned() + "\r\n");
    let fields = |count: usize| body(&"X: y\r\n".repeat(count - 1));
    assert!(parse_cut(fields(16).as_bytes(), [], &limits).is_ok());
    assert_eq!(parse_cut(fields(17).as_bytes(), [], &limits), Err("TooManyHeaders(16) 413".to_owned()));
    let size = |size: usize| body(&format!("X: {}\r\n", "y".repeat(size - FIELD.len() + "--b\r\n".len() - 5)));
    for cuts in [vec![], (1..9000).collect()] {
        let cut = |body: &str| cuts.iter().copied().filter(|&cut| cut < body.len()).collect::<Vec<_>>();
        let (largest, larger) = (size(8192), size(8193));
        assert!(parse_cut(largest.as_bytes(), cut(&largest), &limits).is_ok());
        let refused = parse_cut(larger.as_bytes(), cut(&larger), &limits);
        assert_eq!(refused, Err("PartHeadersTooLarge(8192) 413".to_owned()));
    }
}

#[test]
fn a_header_section_without_an_end_is_refused_and_each_byte_is_examined_once() {
    let limits = FormLimits::default();
    let body = format!("--b\r\nX: {}", "y".repeat(20_000));
    for piece in [1, 100, 30_000] {
        let cuts = (1..body.len().div_ceil(piece)).map(|n| n * piece);
        assert_eq!(parse_cut(body.as_bytes(), cuts, &limits), Err("PartHeadersTooLarge(8192) 413".to_owned()));
    }
    let mut scan = SectionScan::default();
    for end in 0..8000 {
        assert!(matches!(find_section_end(&mut scan, &body.as_bytes()[5..][..end], &limits), Ok(None)));
        assert_eq!(scan.examined, end, "a second search would begin after the examined bytes");
    }
}

#[test]
fn transport_padding_of_any_length_is_not_kept() {
    let mut parser = new_parser(&FormLimits::default());
    assert_eq!(parser.step(b"--b").unwrap().consumed, 3);
    assert_eq!(parser.step(&[b' '; 1000]).unwrap().consumed, 1000);
    let body = format!("--b{}\r\n{}1\r\n--b--{}", " ".repeat(50_000), &FIELD[5..], "\t".repeat(50_000));
    assert_eq!(parse_cut(body.as_bytes(), 1..body.len(), &FormLimits::default()).map(|parts| parts.len()), Ok(1));
}
