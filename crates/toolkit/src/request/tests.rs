use super::*;
use amboss_core::EnvironBuilder;

fn with<R>(builder: EnvironBuilder, check: impl FnOnce(&mut Request<'_, '_>) -> R) -> R {
    let mut owned = builder.build().unwrap();
    let mut environ = owned.environ();
    check(&mut Request::new(&mut environ))
}

#[test]
fn urls_are_put_together_from_scheme_host_prefix_path_and_query() {
    for (path, base, url, base_url, root_url, host) in [
        ("/a?b=c", "http://localhost:8080", "/a?b=c", "/a", "http://localhost:8080/", "localhost:8080"),
        ("/a b", "https://x.org:443/app", "a%20b", "a%20b", "https://x.org/app/", "x.org"),
        ("/", "http://x.org:80", "", "", "http://x.org/", "x.org"),
        ("/%C3%A4%3F", "http://[::1]:5000", "%C3%A4%3F", "%C3%A4%3F", "http://[::1]:5000/", "[::1]:5000"),
    ] {
        with(EnvironBuilder::new(path).base_url(base), |request| {
            assert_eq!((request.root_url().as_str(), request.host().as_str()), (root_url, host));
            assert_eq!(request.url(), format!("{root_url}{}", url.trim_start_matches('/')));
            assert_eq!(request.base_url(), format!("{root_url}{}", base_url.trim_start_matches('/')));
        });
    }
    with(EnvironBuilder::new("/a?b").remove("HTTP_HOST").base_url("http://srv:81"), |request| {
        assert_eq!((request.host().as_str(), request.full_path().as_str()), ("srv:81", "/a?b"));
    });
}

#[test]
fn fields_and_cookies_are_text() {
    let builder = EnvironBuilder::new("/")
        .field("User-Agent", "x/1")
        .field("X-Bytes", b"\xe4".to_vec())
        .field("Content-Type", "Text/HTML; charset=utf-8")
        .field("Cookie", "a=1; b=x%20y; bad; c=\"q\"; a=2");
    with(builder, |request| {
        assert_eq!(request.header("user-agent").as_deref(), Some("x/1"));
        assert_eq!((request.header("x-bytes").as_deref(), request.header("x-none")), (Some("\u{fffd}"), None));
        assert_eq!(
            (request.mimetype().as_str(), request.content_type().as_ref()),
            ("text/html", "Text/HTML; charset=utf-8")
        );
        let headers = request.headers();
        assert_eq!((headers.get("User-Agent"), headers.get("Content-Type").is_some()), (Some(&b"x/1"[..]), true));
        assert!(headers.iter().any(|(name, _)| name == "X-Bytes"), "{headers:?}");
        let cookies = request.cookies();
        assert_eq!((cookies.get("b"), cookies.get("c"), cookies.get("bad")), (Some("x y"), Some("q"), None));
        assert_eq!(cookies.get_all("a").collect::<Vec<_>>(), ["1", "2"]);
    });
}

#[test]
fn the_access_route_lists_the_proxies() {
    with(EnvironBuilder::new("/").field("X-Forwarded-For", "1.2.3.4, 5.6.7.8,"), |request| {
        assert_eq!(request.access_route(), ["1.2.3.4", "5.6.7.8"]);
        assert_eq!(request.remote_addr(), "127.0.0.1");
    });
    with(EnvironBuilder::new("/"), |request| assert_eq!(request.access_route(), ["127.0.0.1"]));
}

#[test]
fn the_body_is_read_once_and_remembered() {
    with(EnvironBuilder::new("/").method("POST").body("hello"), |request| {
        let mut first = [0; 2];
        request.environ_mut().input().read_exact(&mut first).unwrap();
        assert_eq!(request.get_data().unwrap(), b"hello", "a collected body is whole");
        assert_eq!(request.text().unwrap(), "hello");
        assert_eq!(request.content_length(), Some(5));
    });
    with(EnvironBuilder::new("/").method("POST").streamed_body(&b"hello"[..], Some(9)), |request| {
        assert_eq!(request.get_data().unwrap_err().status(), 400, "the body is shorter than declared");
    });
    with(EnvironBuilder::new("/").method("POST").body(&b"\xe4"[..]), |request| {
        assert_eq!(request.text().unwrap_err().status(), 400);
    });
}

#[cfg(feature = "json")]
#[test]
fn json_needs_its_content_type_and_a_body_of_the_type() {
    for (content_type, body, expected) in [
        ("application/json", "{\"a\": 1}", Ok(1)),
        ("Application/Problem+JSON; charset=utf-8", "{\"a\": 2}", Ok(2)),
        ("text/plain", "{\"a\": 1}", Err(415)),
        ("application/json", "{\"a\": ", Err(400)),
        ("application/json", "{\"a\": \"x\"}", Err(400)),
        ("application/json", "", Err(400)),
    ] {
        let builder = EnvironBuilder::new("/").method("POST").field("Content-Type", content_type).body(body);
        let result = with(builder, |request| request.json::<std::collections::HashMap<String, u32>>());
        assert_eq!(result.map(|map| map["a"]).map_err(|error| error.status()), expected, "{content_type} {body}");
    }
}

#[test]
fn the_date_of_if_modified_since_is_a_time() {
    for (field, is_date) in [("Sun, 06 Nov 1994 08:49:37 GMT", true), ("yesterday", false)] {
        let found = with(EnvironBuilder::new("/").field("If-Modified-Since", field), |request| {
            request.if_modified_since().is_some()
        });
        assert_eq!(found, is_date);
    }
}

#[test]
fn a_form_is_read_once_also_after_the_data() {
    let form = |builder: EnvironBuilder| {
        builder.method("POST").field("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
    };
    with(form(EnvironBuilder::new("/")).body("a=1+2&b=%C3%A4"), |request| {
        assert_eq!(request.form().unwrap().get("a"), Some("1 2"));
        assert_eq!(request.form().unwrap().get("b"), Some("ä"));
        assert!(request.files().unwrap().is_empty());
        assert_eq!(request.get_data().unwrap(), b"a=1+2&b=%C3%A4");
    });
    with(form(EnvironBuilder::new("/")).streamed_body(&b"a=1"[..], Some(3)), |request| {
        assert_eq!(request.get_data().unwrap(), b"a=1");
        assert_eq!(request.form().unwrap().get("a"), Some("1"));
    });
    with(EnvironBuilder::new("/").method("POST").body("a=1"), |request| {
        assert!(request.form().unwrap().is_empty(), "a body without a type is no form");
    });
    with(form(EnvironBuilder::new("/")).body("a=1&b=2"), |request| {
        request.set_form_limits(FormLimits { parts: 1, ..FormLimits::default() });
        let error = request.form().unwrap_err();
        assert_eq!(error.status(), 413, "{error}");
    });
}

#[test]
fn conditions_and_ranges_are_read_from_their_fields() {
    let builder = EnvironBuilder::new("/").field("If-None-Match", "\"a\", W/\"b\"").field("Range", "bytes=0-4,-1");
    with(builder, |request| {
        assert_eq!(request.if_none_match().unwrap().iter().count(), 2);
        assert_eq!((request.if_match(), request.range().unwrap().iter().len()), (None, 2));
    });
}
