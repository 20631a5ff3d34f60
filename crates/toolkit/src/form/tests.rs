//! The media types of forms.

use super::*;

fn parse_text(content_type: &str, body: &str) -> Result<Vec<(String, String)>, String> {
    let form = parse(content_type.as_bytes(), Source::Bytes(body.as_bytes()), &FormLimits::default());
    form.map(|form| form.fields.into_iter().collect()).map_err(|error| format!("{:?} {}", error.kind(), error.status()))
}

const MULTIPART: &str = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n";

#[test]
fn the_content_type_decides_how_a_body_is_read() {
    let form = || Ok(vec![("a".to_owned(), "1".to_owned())]);
    let cases = [
        ("application/x-www-form-urlencoded", "a=1", form()),
        ("Application/X-WWW-Form-Urlencoded ; Charset=\"UTF-8\"", "a=1", form()),
        ("multipart/form-data; boundary=b", MULTIPART, form()),
        ("MULTIPART/FORM-DATA;charset=x;BOUNDARY=\"b\"", MULTIPART, form()),
        ("application/json", "a=1", Ok(vec![])),
        ("multipart/mixed; boundary=b", MULTIPART, Ok(vec![])),
        ("", "a=1", Ok(vec![])),
        ("application/x-www-form-urlencoded; charset=iso-8859-1", "a=%e4", Err("Charset 415")),
        ("application/x-www-form-urlencoded; charset=utf-8; charset=utf-8", "a=1", Err("Charset 415")),
        ("application/x-www-form-urlencoded; charset", "a=1", Err("ContentType 400")),
        ("multipart/form-data", MULTIPART, Err("Boundary 400")),
        ("multipart/form-data; boundary=", MULTIPART, Err("Boundary 400")),
        ("multipart/form-data; boundary=\"b \"", MULTIPART, Err("Boundary 400")),
        ("multipart/form-data; boundary=b; boundary=c", MULTIPART, Err("Boundary 400")),
        ("multipart/form-data; boundary=\"b", MULTIPART, Err("ContentType 400")),
    ];
    for (content_type, body, expected) in cases {
        assert_eq!(parse_text(content_type, body), expected.map_err(str::to_owned), "{content_type}");
    }
}

#[test]
fn a_body_of_another_type_is_not_read() {
    struct Unread;
    impl std::io::Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("the body was read")
        }
    }
    let form = parse(b"application/json", Source::Stream(&mut Unread), &FormLimits::default()).unwrap();
    assert!(form.fields.is_empty() && form.files.is_empty());
}

/// The regular expression of python-multipart backtracks on such a value.
#[test]
fn cve_2024_24762_a_content_type_of_backslashes_takes_linear_time() {
    for end in ["", "\"", "\"; boundary=b"] {
        let content_type = format!("multipart/form-data; !=\"{}{end}", "\\\\".repeat(500_000));
        let expected = if end.ends_with('b') {
            Ok(1)
        } else if end.is_empty() {
            Err("ContentType 400")
        } else {
            Err("Boundary 400")
        };
        let found = parse_text(&content_type, MULTIPART);
        assert_eq!(found.map(|fields| fields.len()), expected.map_err(str::to_owned));
    }
}
