//! Header sections that are accepted and refused.

use super::*;

fn parse(section: &[u8]) -> Result<PartHead, String> {
    PartHead::parse(section, b"--b").map_err(|error| format!("{:?} {}", error.kind(), error.status()))
}

/// The name and the file name of a Content-Disposition.
fn disposition(value: &str) -> Result<(String, Option<String>), String> {
    let section = format!("Content-Disposition: {value}\r\n\r\n");
    parse(section.as_bytes()).map(|head| (head.name, head.filename))
}

#[test]
fn names_and_file_names_are_read_as_browsers_send_them() {
    let cases = [
        ("form-data; name=\"a\"", "a", None),
        ("FORM-DATA;NAME=a;FileName=b", "a", Some("b")),
        ("form-data; name=\"\"", "", None),
        ("form-data; name=\"a;b=c\"; filename=\"\"", "a;b=c", Some("")),
        ("form-data; name=\"a%22b%0D%0Ac%25%\"", "a\"b\r\nc%25%", None),
        ("form-data; name=\"a\\\"b\"; filename=\"c\\\\d\\\"e\"", "a\"b", Some("c\\d\"e")),
        ("form-data; name=\"ä\"; filename=\"日本.txt\"", "ä", Some("日本.txt")),
        ("form-data; name=a; filename=\"C:\\Users\\ada\\x.txt\"", "a", Some("x.txt")),
        ("form-data; name=a; filename=\"\\\\server\\share\\x.txt\"", "a", Some("x.txt")),
        ("form-data; name=a; filename=\"folder/x.txt\"", "a", Some("folder/x.txt")),
        ("form-data; name=a; filename=\"x\\y.txt\"", "a", Some("x\\y.txt")),
        ("form-data; name=a; size=5; size=6", "a", None),
    ];
    for (value, name, filename) in cases {
        assert_eq!(disposition(value), Ok((name.to_owned(), filename.map(str::to_owned))), "{value}");
    }
}

#[test]
fn dispositions_without_one_name_are_refused() {
    let cases = [
        // A part without a name, RFC 7578 §4.2.
        ("form-data", "Disposition 400"),
        ("form-data; filename=\"x\"", "Disposition 400"),
        ("attachment; name=\"a\"", "Disposition 400"),
        ("", "Disposition 400"),
        // A repeated parameter: two parsers may take different ones.
        ("form-data; name=a; name=b", "Disposition 400"),
        ("form-data; name=a; filename=\"a.txt\"; FILENAME=\"b.php\"", "Disposition 400"),
        ("form-data; name=\"a", "Disposition 400"),
        ("form-data; name=\"a\"b", "Disposition 400"),
        ("form-data; name=a; filename=x y.txt", "Disposition 400"),
        // RFC 5987 in form data, RFC 7578 §4.2.
        ("form-data; name=a; filename*=UTF-8''x.php", "ExtendedParameter 400"),
        ("form-data; name=a; filename=\"x.txt\"; filename*=UTF-8''x.php", "ExtendedParameter 400"),
        // NUL in a file name.
        ("form-data; name=a; filename=\"x.php\0.jpg\"", "PartHeader 400"),
    ];
    for (value, expected) in cases {
        assert_eq!(disposition(value), Err(expected.to_owned()), "{value}");
    }
    assert_eq!(disposition("form-data; name=a; filename=\"x%00y\""), Ok(("a".into(), Some("x%00y".into()))));
}

#[test]
fn sections_with_malformed_lines_are_refused() {
    const DISPOSITION: &str = "Content-Disposition: form-data; name=a\r\n";
    let cases = [
        ("\r\n", "Disposition 400"),
        ("X: y\r\n\r\n", "Disposition 400"),
        ("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n", "Disposition 400"),
        // Folded lines.
        ("Content-Disposition: form-data;\r\n name=a\r\n\r\n", "PartHeader 400"),
        ("Content-Disposition: form-data; name=a\r\n\tb: c\r\n\r\n", "PartHeader 400"),
        ("Content-Disposition: form-data; name=a\nX: y\r\n\r\n", "PartHeader 400"),
        ("Content-Disposition: form-data; name=a\rX: y\r\n\r\n", "PartHeader 400"),
        ("Content-Disposition : form-data; name=a\r\n\r\n", "PartHeader 400"),
        (": x\r\n\r\n", "PartHeader 400"),
        ("no colon\r\n\r\n", "PartHeader 400"),
        ("--b: x\r\n\r\n", "Delimiter 400"),
        ("{D}Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", "PartHeader 400"),
        // Nested parts, RFC 7578 §4.3.
        ("{D}Content-Type: Multipart/mixed; boundary=c\r\n\r\n", "Nested 415"),
        ("{D}Content-Transfer-Encoding: base64\r\n\r\n", "TransferEncoding 415"),
        ("{D}Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n\r\n", "TransferEncoding 415"),
    ];
    for (section, expected) in cases {
        let section = section.replace("{D}", DISPOSITION);
        assert_eq!(parse(section.as_bytes()), Err(expected.to_owned()), "{section}");
    }
}

#[test]
fn all_fields_are_kept_as_they_were_sent() {
    let section = b"content-disposition:form-data; name=a; filename=b\r\nContent-Type: \ttext/plain \r\nX:\r\n\
        Content-Length: 99999999999999999999\r\nContent-Transfer-Encoding: Binary\r\n\r\n";
    let head = parse(section).unwrap();
    assert_eq!((head.headers.len(), head.content_type().as_deref()), (5, Some("text/plain")));
    assert_eq!(head.headers.get("x"), Some(&b""[..]));
    let mhtml = b"Content-Disposition: form-data; name=a; filename=page.mht\r\nContent-Type: multipart/related\r\n\r\n";
    assert!(parse(mhtml).is_ok(), "an uploaded file may have any type");
}
