//! Fields and files of a body that is collected in memory, in a file, or streamed.

use std::fs::File;
use std::io::Write;
use std::ops::Range;

use super::*;

const LARGE: usize = 600_000;

fn part(disposition: &str, data: &[u8]) -> Vec<u8> {
    [format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes(), data, b"\r\n"].concat()
}

fn body(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--b--\r\n"].concat()
}

/// A temporary file with the body behind 1,000 other bytes, and the range of the body.
fn collected(body: &[u8]) -> (File, Range<u64>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[&[b'\r'; 1000][..], body, b"--b"].concat()).unwrap();
    (file, 1000..1000 + body.len() as u64)
}

/// The form as text.
fn describe(form: Result<FormData, FormError>) -> Result<String, String> {
    let form = form.map_err(|error| format!("{:?} {}", error.kind(), error.status()))?;
    let files = form.files.iter().map(|file| {
        let bytes = file.bytes(file.size()).unwrap();
        assert_eq!(bytes.len() as u64, file.size());
        (file.name().to_owned(), file.filename().to_owned(), file.headers().clone(), bytes)
    });
    Ok(format!("{:?} {:?}", form.fields, files.collect::<Vec<_>>()))
}

/// Parses a body from all sources; the results have to be the same.
fn parse_all(body: &[u8], limits: &FormLimits) -> Result<String, String> {
    let in_memory = describe(parse(b"b", Source::Bytes(body), limits));
    let (file, range) = collected(body);
    assert_eq!(describe(parse(b"b", Source::File(&file, range), limits)), in_memory);
    assert_eq!(describe(parse(b"b", Source::Stream(&mut &*body), limits)), in_memory);
    for piece in [1, 1000, BLOCK - 1] {
        let mut stream = Pieces { body, piece, interrupted: false };
        assert_eq!(describe(parse(b"b", Source::Stream(&mut stream), limits)), in_memory, "in pieces of {piece}");
    }
    in_memory
}

/// A stream that gives few bytes at once, and is interrupted by a signal before each second read.
struct Pieces<'a> {
    body: &'a [u8],
    piece: usize,
    interrupted: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = self.piece.min(buffer.len()).min(self.body.len());
        self.body.read(&mut buffer[..length])
    }
}

fn large_form() -> (Vec<u8>, Vec<u8>) {
    let large: Vec<u8> = (0..LARGE).map(|n| (n * 7 / 3) as u8).collect();
    let parts = [
        part("name=a", b"1"),
        part("name=small; filename=s.txt", b"\r\n--"),
        part("name=large; filename=l.bin", &large),
        part("name=a", "2 \u{e4} \u{1f600}".as_bytes()),
        part("name=after; filename=x.txt", b"after"),
        part("name=none; filename=\"\"", b""),
        part("name=empty; filename=e.txt", b""),
    ];
    (body(&parts), large)
}

#[test]
fn a_form_is_the_same_from_memory_from_a_file_and_from_a_stream() {
    let (body, large) = large_form();
    parse_all(&body, &FormLimits::default()).unwrap();
    let form = parse(b"b", Source::Stream(&mut &body[..]), &FormLimits::default()).unwrap();
    assert_eq!(form.fields.get_all("a").collect::<Vec<_>>(), ["1", "2 \u{e4} \u{1f600}"]);
    let names: Vec<_> = form.files.iter().map(|file| (file.name(), file.size())).collect();
    assert_eq!(
        names,
        [("small", 4), ("large", LARGE as u64), ("after", 5), ("empty", 0)],
        "no file was chosen for `none`"
    );
    assert_eq!(form.files.get("large").unwrap().bytes(u64::MAX).unwrap(), large);
}

#[test]
fn a_file_of_a_body_in_a_file_is_a_range_of_it() {
    let (body, _) = large_form();
    let (file, range) = collected(&body);
    let form = parse(b"b", Source::File(&file, range.clone()), &FormLimits::default()).unwrap();
    let at = range.start + body.windows(5).rposition(|window| window == b"after").unwrap() as u64;
    io::Seek::seek(&mut &file, io::SeekFrom::Start(at)).unwrap();
    (&file).write_all(b"AFTER").unwrap();
    drop(file);
    assert_eq!(form.files.get("after").unwrap().bytes(5).unwrap(), b"AFTER", "the same bytes, with another descriptor");
}

#[test]
fn a_file_is_saved_and_read_within_a_limit() {
    let (body, large) = large_form();
    let folder = tempfile::tempdir().unwrap();
    let form = parse(b"b", Source::Stream(&mut &body[..]), &FormLimits::default()).unwrap();
    for (name, expected) in [("small", &b"\r\n--"[..]), ("large", &large)] {
        let file = form.files.get(name).unwrap();
        let path = folder.path().join(file.secure_filename());
        std::fs::write(&path, vec![b'x'; LARGE + 1]).unwrap();
        file.save(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == expected, "{name}");
        let error = file.bytes(file.size() - 1).unwrap_err();
        assert_eq!(error.status(), 413, "{error}");
    }
    assert!(form.files.get("small").unwrap().save(folder.path().join("missing/x")).is_err());
}

#[test]
fn the_memory_of_fields_names_and_headers_is_limited() {
    let mut limits = FormLimits::default();
    let form = body(&[part("name=a", b"12345"), part("name=b; filename=c", &[b'x'; 1000]), part("name=d", b"6")]);
    let headers = ["name=a", "name=b; filename=c", "name=d"]
        .map(|parameters| format!("Content-Disposition: form-data; {parameters}\r\n\r\n").len());
    let memory = headers.iter().sum::<usize>() + "123456".len();
    limits.fields_memory = memory;
    assert!(parse_all(&form, &limits).is_ok(), "the bytes of files do not count");
    limits.fields_memory -= 1;
    assert_eq!(parse_all(&form, &limits), Err(format!("FieldsTooLarge({}) 413", memory - 1)));
}

#[test]
fn the_whole_body_is_limited() {
    let mut limits = FormLimits::default();
    let form = body(&[part("name=a", b"12345")]);
    limits.total = Some(form.len() as u64);
    assert!(parse_all(&form, &limits).is_ok());
    limits.total = Some(form.len() as u64 - 1);
    assert_eq!(parse_all(&form, &limits), Err(format!("BodyTooLarge({}) 413", form.len() - 1)));
}

#[test]
fn the_headers_of_a_part_may_be_longer_than_a_block() {
    let limits = FormLimits { part_headers: 200_000, ..FormLimits::default() };
    let form = body(&[part(&format!("name=a; x=\"{}\"", "y".repeat(150_000)), b"1")]);
    assert!(parse_all(&form, &limits).is_ok());
}

#[test]
fn a_field_charset_does_not_change_the_decoding() {
    let form = body(&[part("name=_charset_", b"iso-8859-1"), part("name=a", b"\xe4"), part("name=b", "ä".as_bytes())]);
    let form = parse(b"b", Source::Bytes(&form), &FormLimits::default()).unwrap();
    let values: Vec<_> = form.fields.iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["iso-8859-1", "\u{fffd}", "ä"]);
}

#[test]
fn a_stream_that_fails_is_an_error_with_its_status() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(amboss_core::InputError::from(amboss_core::InputErrorKind::TooSlow).into()),
                count => Ok(count),
            }
        }
    }
    let form = part("name=a", b"1");
    let error = parse(b"b", Source::Stream(&mut Failing(&form)), &FormLimits::default()).unwrap_err();
    assert!(matches!(error.kind(), FormErrorKind::Input(_)) && error.status() == 408, "{error}");
}

#[test]
fn a_temporary_file_that_cannot_be_made_is_the_fault_of_the_server() {
    let limits = FormLimits { spool_folder: Some("/does/not/exist".into()), ..FormLimits::default() };
    let (body, _) = large_form();
    let error = parse(b"b", Source::Stream(&mut &body[..]), &limits).unwrap_err();
    assert!(matches!(error.kind(), FormErrorKind::Storage(_)) && error.status() == 500, "{error}");
}
