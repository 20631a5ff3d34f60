//! Ranges of files.

use std::io::{Seek, SeekFrom, Write};

use super::*;

#[test]
fn one_range_is_sent_as_206() {
    let (_folder, app) = site(&[("a.txt", "0123456789")], |_| {});
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=3-5", "345", "bytes 3-5/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=0-100", "0123456789", "bytes 0-9/10"),
        ("bytes=1-2,3-4", "1234", "bytes 1-4/10"),
    ] {
        let response = get_with(&app, "/a.txt", &[("Range", range)]);
        assert_eq!((response.status, text(&response).as_str()), (206, body), "{range}");
        assert_eq!(field(&response, "Content-Range"), content_range);
        assert_eq!(field(&response, "Content-Length"), body.len().to_string());
        assert_eq!(field(&response, "Content-Type"), "text/plain; charset=utf-8");
    }
}

#[test]
fn a_field_that_is_not_understood_is_ignored_and_an_unsatisfiable_one_gets_416() {
    let (_folder, app) = site(&[("a.txt", "0123456789")], |_| {});
    for range in ["bytes=5-3", "lines=0-1", "bytes", "bytes=0-1,x"] {
        let response = get_with(&app, "/a.txt", &[("Range", range)]);
        assert_eq!((response.status, response.body.len()), (200, 10), "{range}");
    }
    let response = get_with(&app, "/a.txt", &[("Range", "bytes=10-")]);
    assert_eq!((response.status, field(&response, "Content-Range").as_str()), (416, "bytes */10"));
}

#[test]
fn a_range_of_another_version_is_the_whole_file() {
    let (_folder, app) = site(&[("a.txt", "0123456789")], |_| {});
    let first = get(&app, "/a.txt");
    for (condition, status) in [
        (field(&first, "ETag"), 206),
        (field(&first, "Last-Modified"), 206),
        (format!("W/{}", field(&first, "ETag")), 200),
        ("\"other\"".into(), 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT".into(), 200),
    ] {
        let response = get_with(&app, "/a.txt", &[("Range", "bytes=0-1"), ("If-Range", &condition)]);
        assert_eq!(response.status, status, "{condition}");
    }
    let fields = [("Range", "bytes=0-1"), ("If-None-Match", &field(&first, "ETag"))];
    assert_eq!(get_with(&app, "/a.txt", &fields).status, 304, "preconditions come before ranges");
}

#[test]
fn several_ranges_are_parts_with_a_length_that_was_computed_before() {
    let content: String = (0..20_000).map(|number| format!("{number:06}\n")).collect();
    let (_folder, app) = site(&[("a.txt", &content)], |_| {});
    let response = get_with(&app, "/a.txt", &[("Range", "bytes=7-12,-7,70000-138999")]);
    assert_eq!((response.status, response.header("Content-Range")), (206, None));
    assert_eq!(field(&response, "Content-Length"), response.body.len().to_string());
    let content_type = field(&response, "Content-Type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: std::ops::Range<usize>| {
        let (first, last, bytes) = (range.start, range.end - 1, &content[range]);
        format!("--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {first}-{last}/140000\r\n\r\n{bytes}\r\n")
    };
    let expected = [part(7..13), part(139_993..140_000), part(70_000..139_000), format!("--{boundary}--\r\n")].concat();
    assert!(text(&response) == expected);
}

#[test]
fn overlapping_ranges_never_send_a_byte_twice() {
    let (_folder, app) = site(&[("a.txt", &"x".repeat(10_000))], |_| {});
    for count in [2, 16, 17, 1300] {
        let ranges: Vec<_> = (0..count).map(|n| format!("{n}-")).collect();
        let response = get_with(&app, "/a.txt", &[("Range", &format!("bytes={}", ranges.join(",")))]);
        assert_eq!(
            (response.status, response.body.len()),
            (if count > 16 { 200 } else { 206 }, 10_000),
            "CVE-2011-3192"
        );
    }
}

#[test]
fn a_range_near_the_end_of_a_file_beyond_4_gib_is_found() {
    const LENGTH: u64 = (5 << 30) + 3;
    let (folder, app) = site(&[("large.bin", "")], |_| {});
    let mut file = File::options().write(true).open(folder.join("large.bin")).unwrap();
    file.seek(SeekFrom::Start(LENGTH - 4)).unwrap();
    file.write_all(b"tail").unwrap();
    let response = get_with(&app, "/large.bin", &[("Range", "bytes=-6")]);
    assert_eq!((response.status, response.body.as_slice()), (206, &b"\0\0tail"[..]));
    assert_eq!(field(&response, "Content-Range"), format!("bytes {}-{}/{LENGTH}", LENGTH - 6, LENGTH - 1));
    // Beyond what is read into memory.
    let response = get_with(&app, "/large.bin", &[("Range", "bytes=-100000")]);
    assert!(response.body.len() == 100_000 && response.body.ends_with(b"\0tail"));
    let response = get_with(&app, "/large.bin", &[("Range", "bytes=0-1,-2")]);
    assert!(text(&response).contains("\r\n\r\nil\r\n"));
    let response = send(&app, EnvironBuilder::new("/large.bin").method("HEAD"));
    assert_eq!(field(&response, "Content-Length"), LENGTH.to_string());
}
