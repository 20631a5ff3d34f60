use super::*;
use crate::wsgi::environ::Environ;
use std::io::Read;

fn text(environ: &mut Environ<'_>) -> Result<String, std::io::Error> {
    let mut text = String::new();
    environ.input().read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn an_environ_has_the_keys_of_a_request() {
    let mut owned = create_environ("/test?q=1&r=%20", "http://localhost:8080").unwrap();
    let environ = owned.environ();
    for (key, value) in [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/test"),
        ("QUERY_STRING", "q=1&r=%20"),
        ("REQUEST_URI", "/test?q=1&r=%20"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "8080"),
        ("HTTP_HOST", "localhost:8080"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("wsgi.url_scheme", "http"),
        ("wsgi.input_terminated", "true"),
    ] {
        assert_eq!(environ.text(key), value, "{key}");
    }
    assert!(environ.get("CONTENT_LENGTH").is_none() && environ.get("HTTP_PROXY").is_none());
    assert!(!environ.client().has_left(), "the client of a request without a connection stays");
}

#[test]
fn the_base_url_gives_scheme_host_port_and_prefix() {
    for (base, name, port, scheme, host, script_name) in [
        ("https://example.org", "example.org", "443", "https", "example.org", ""),
        ("http://example.org/", "example.org", "80", "http", "example.org", ""),
        ("http://[::1]:5000/app/", "[::1]", "5000", "http", "[::1]:5000", "/app"),
        ("http://[::1]", "[::1]", "80", "http", "[::1]", ""),
        ("http://a.b/c%20d", "a.b", "80", "http", "a.b", "/c d"),
    ] {
        let mut owned = create_environ("/a b", base).unwrap();
        let environ = owned.environ();
        let values = ["SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme", "HTTP_HOST", "SCRIPT_NAME"];
        assert_eq!(values.map(|key| environ.text(key).into_owned()), [name, port, scheme, host, script_name], "{base}");
        assert_eq!(environ.path(), "/a b");
        assert_eq!(environ.text("REQUEST_URI"), format!("{}/a%20b", script_name.replace(' ', "%20")));
    }
}

#[test]
fn a_path_is_encoded_as_a_client_does() {
    for (path, target, decoded) in [
        ("/ä", "/%C3%A4", "/ä".as_bytes()),
        ("/%e4", "/%e4", b"/\xe4"),
        ("/a#b\"<>", "/a%23b%22%3C%3E", b"/a#b\"<>"),
        ("/a?x=\u{20ac} y", "/a?x=%E2%82%AC%20y", b"/a"),
    ] {
        let mut owned = EnvironBuilder::new(path).build().unwrap();
        let environ = owned.environ();
        assert_eq!((environ.text("RAW_URI").as_ref(), environ.path().as_bytes()), (target, decoded), "{path}");
    }
    let mut owned = EnvironBuilder::new("/a?x=1").query("y=2").build().unwrap();
    assert_eq!(owned.environ().query(), "y=2");
    let mut owned = EnvironBuilder::new("*").method("OPTIONS").base_url("http://localhost/app").build().unwrap();
    assert_eq!(owned.environ().text("RAW_URI"), "*");
}

#[test]
fn fields_body_peer_keys_and_extensions_are_those_of_the_builder() {
    let mut owned = EnvironBuilder::new("/")
        .method("POST")
        .field("Cookie", "a=1")
        .field("cookie", "b=2")
        .field("Host", "other.example")
        .body("hello")
        .peer(Peer::Local)
        .set("REMOTE_USER", "ada")
        .remove("SERVER_SOFTWARE")
        .extension(7_u8)
        .build()
        .unwrap();
    for is_first in [true, false] {
        let mut environ = owned.environ();
        assert_eq!(environ.text("HTTP_COOKIE"), "a=1; b=2");
        assert_eq!(
            (environ.text("HTTP_HOST"), environ.text("SERVER_NAME")),
            ("other.example".into(), "localhost".into())
        );
        assert_eq!((environ.text("REMOTE_ADDR"), environ.text("REMOTE_USER")), ("<local>".into(), "ada".into()));
        assert!(environ.get("SERVER_SOFTWARE").is_none());
        assert_eq!(environ.extensions().get::<u8>().is_some(), is_first, "extensions belong to the first environ");
        assert_eq!((environ.input().length(), environ.text("CONTENT_LENGTH")), (Some(5), "5".into()));
        assert_eq!(text(&mut environ).unwrap(), "hello", "each environ reads the body from its start");
        environ.set("PATH_INFO", "/changed");
    }
}

#[test]
fn a_streamed_body_fails_where_its_reader_ends_early() {
    let builder = || EnvironBuilder::new("/").method("PUT");
    let mut owned = builder().streamed_body(&b"abcdef"[..], Some(4)).build().unwrap();
    let mut environ = owned.environ();
    assert!(environ.input().collected().is_none());
    assert_eq!(text(&mut environ).unwrap(), "abcd", "bytes after the length do not belong to the body");
    let mut owned = builder().streamed_body(&b"abc"[..], Some(4)).build().unwrap();
    let error = text(&mut owned.environ()).unwrap_err();
    assert!(error.to_string().contains("before the request body was complete"), "{error}");
    let mut owned = builder().streamed_body(&b"abc"[..], None).build().unwrap();
    let mut environ = owned.environ();
    assert_eq!((environ.text("HTTP_TRANSFER_ENCODING"), environ.get("CONTENT_LENGTH")), ("chunked".into(), None));
    assert_eq!(text(&mut environ).unwrap(), "abc");
}

#[test]
fn a_request_that_no_client_can_send_is_an_error_that_says_why() {
    let builder = EnvironBuilder::new;
    for (request, part) in [
        (builder("relative"), "begin with a slash"),
        (builder("/").base_url("localhost:8080"), "write it as http://localhost:8080"),
        (builder("/").base_url("http://a b"), "write it as http://localhost:8080"),
        (builder("/").base_url("http://"), "write it as http://localhost:8080"),
        (builder("/").base_url("http://a/?q"), "write it as http://localhost:8080"),
        (builder("/").method(""), "refuse"),
        (builder("/").method("GET /x HTTP/1.1\r\nX: y\r\n\r\nGET"), "not a method"),
        (builder("/").field("X", "a\r\nY: b"), "line end"),
        (builder("/").field("X\nY", "b"), "line end"),
        (builder("/").field("", "b"), "no name"),
        (builder("/").field("X Y", "b"), "refuse"),
        (builder("/").field("X", "\0"), "refuse"),
        (builder("*"), "refuse"),
    ] {
        let error = request.build().unwrap_err().to_string();
        assert!(error.contains(part), "{error:?} does not contain {part:?}");
    }
}

#[test]
fn a_shutdown_that_the_application_asks_for_is_seen() {
    let mut owned = create_environ("/", "http://localhost").unwrap();
    assert!(!owned.is_shutdown_requested());
    owned.environ().shutdown_server();
    assert!(owned.is_shutdown_requested());
}
