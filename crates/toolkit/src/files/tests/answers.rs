//! Status, fields and body of whole files.

use std::time::Duration;

use super::*;

#[test]
fn a_file_is_sent_with_what_describes_it() {
    let (_folder, app) = site(&[("a/style.css", "body{}")], |_| {});
    let response = get(&app, "/a/style.css");
    assert_eq!((response.status, text(&response).as_str()), (200, "body{}"));
    for (name, value) in [
        ("Content-Type", "text/css; charset=utf-8"),
        ("Content-Length", "6"),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", ""),
        ("Content-Encoding", ""),
    ] {
        assert_eq!(field(&response, name), value, "{name}");
    }
    assert!(field(&response, "ETag").starts_with('"') && field(&response, "Last-Modified").ends_with("GMT"));
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let (_folder, app) = site(&[("a.txt", "text")], |_| {});
    let response = send(&app, EnvironBuilder::new("/a.txt").method("HEAD").field("Range", "bytes=0-1"));
    assert_eq!((response.status, response.body.len()), (200, 0), "a range is for GET only");
    assert_eq!(response.fields, get(&app, "/a.txt").fields);
}

#[test]
fn an_empty_file_is_an_empty_answer() {
    let (_folder, app) = site(&[("empty.txt", "")], |_| {});
    let response = get(&app, "/empty.txt");
    assert_eq!((response.status, response.body.len(), field(&response, "Content-Length").as_str()), (200, 0, "0"));
    assert_eq!(get_with(&app, "/empty.txt", &[("Range", "bytes=0-")]).status, 416);
}

#[test]
fn other_methods_are_not_allowed() {
    let (_folder, app) = site(&[("a.txt", "text")], |_| {});
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/a.txt", "/none"] {
            let response = send(&app, EnvironBuilder::new(path).method(method));
            assert_eq!((response.status, field(&response, "Allow").as_str()), (405, "GET, HEAD"), "{method} {path}");
        }
    }
}

#[test]
fn a_folder_is_answered_with_its_index_at_the_address_with_a_slash() {
    let (_folder, app) = site(&[("index.html", "root"), ("a b/index.html", "below"), ("c/d.txt", "d")], |_| {});
    assert_eq!(text(&get(&app, "/")), "root");
    assert_eq!(text(&get(&app, "/a%20b/")), "below");
    for (path, location) in [("/a%20b", "/a%20b/"), ("/a%20b?x=%2f", "/a%20b/?x=%2f"), ("///a%20b", "/a%20b/")] {
        let response = get(&app, path);
        assert_eq!((response.status, field(&response, "Location").as_str()), (308, location), "{path}");
    }
    for path in ["/c", "/c/", "/a%20b/index.html/", "/none/", "/index.html/"] {
        assert_eq!(get(&app, path).status, 404, "{path}");
    }
}

/// Middleware in front that protects `/a/b`, or runs its scripts, compares its prefix with the path as it was sent.
#[test]
fn a_path_with_several_slashes_in_a_row_is_redirected_and_not_answered() {
    let (_folder, app) = site(&[("a/b.txt", "b"), ("a/c/index.html", "c"), ("index.html", "root")], |_| {});
    for (path, location) in [
        ("/a//b.txt", "/a/b.txt"),
        ("/a///b.txt?x=//", "/a/b.txt?x=//"),
        ("/a//c", "/a/c/"),
        ("/a//c/", "/a/c/"),
        ("/a/c//", "/a/c/"),
    ] {
        let response = get(&app, path);
        assert_eq!((response.status, field(&response, "Location").as_str()), (308, location), "{path}");
    }
    assert_eq!(get(&app, "/a//none.txt").status, 404);
    let request = EnvironBuilder::new("/").set("SCRIPT_NAME", "/app").set("PATH_INFO", "//");
    assert_eq!(field(&send(&app, request), "Location"), "/app/");
    let request = EnvironBuilder::new("/").set("SCRIPT_NAME", "").set("PATH_INFO", "//");
    assert_eq!(field(&send(&app, request), "Location"), "/");
}

#[test]
fn a_redirect_stays_on_its_host() {
    let (folder, app) = site(&[("evil.example/index.html", "")], |_| {});
    std::fs::create_dir(folder.join("a")).unwrap();
    for path in
        ["//evil.example", "/%2f/evil.example", "/%5cevil.example", "/%09/evil.example", "//evil.example/%2e%2e"]
    {
        let response = get(&app, path);
        let location = field(&response, "Location");
        assert!(response.status == 404 || location == "/evil.example/", "{path} {location}");
    }
    let request = EnvironBuilder::new("/evil.example").base_url("http://localhost/app");
    assert_eq!(field(&send(&app, request), "Location"), "/app/evil.example/");
    let request = EnvironBuilder::new("/evil.example").set("SCRIPT_NAME", "//other.example");
    assert_eq!(field(&send(&app, request), "Location"), "/other.example/evil.example/");
}

#[test]
fn the_index_has_the_name_of_the_options() {
    let (_folder, app) =
        site(&[("index.html", "html"), ("main.txt", "main")], |options| options.index = "main.txt".into());
    assert_eq!(text(&get(&app, "/")), "main");
    let (_folder, app) = site(&[("index.html", "html")], |options| options.index = String::new());
    assert_eq!(get(&app, "/").status, 404);
}

#[test]
fn a_client_with_the_current_version_gets_304() {
    let (_folder, app) = site(&[("a.txt", "text")], |_| {});
    let first = get(&app, "/a.txt");
    let (etag, date) = (field(&first, "ETag"), field(&first, "Last-Modified"));
    for (name, value, status) in [
        ("If-None-Match", etag.as_str(), 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", &date, 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("If-Match", &etag, 200),
        ("If-Match", "\"other\"", 412),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        let response = get_with(&app, "/a.txt", &[(name, value)]);
        assert_eq!(response.status, status, "{name}: {value}");
        if status == 304 {
            assert_eq!(
                (field(&response, "ETag"), field(&response, "Cache-Control")),
                (etag.clone(), "no-cache".into())
            );
            assert!(response.header("Content-Type").is_none() && response.header("Content-Length").is_none());
        }
    }
}

#[test]
fn a_date_in_the_future_is_not_sent() {
    let (folder, app) = site(&[("a.txt", "text")], |_| {});
    let future = SystemTime::now() + Duration::from_secs(86_400);
    File::options().write(true).open(folder.join("a.txt")).unwrap().set_modified(future).unwrap();
    let sent = httpdate::parse_http_date(&field(&get(&app, "/a.txt"), "Last-Modified")).unwrap();
    assert!(sent <= SystemTime::now(), "RFC 9110 §8.8.2.1");
}

#[test]
fn clients_may_keep_a_file_for_the_time_of_the_options() {
    let (_folder, app) = site(&[("a.txt", "text")], |options| options.cache = Some(Duration::from_secs(3600)));
    assert_eq!(field(&get(&app, "/a.txt"), "Cache-Control"), "public, max-age=3600");
}

#[test]
fn an_application_in_the_browser_gets_its_index_for_unknown_paths() {
    let files = [("index.html", "app"), ("a.txt", "text"), (".env", "secret")];
    let (_folder, app) = site(&files, |options| options.spa = true);
    let html = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for (path, status) in [
        ("/", 200),
        ("/users/1", 200),
        ("/users/", 200),
        ("/a.txt", 200),
        ("/missing.js", 404),
        ("/users/missing.png", 404),
        ("/.env", 404),
        ("/../x", 404),
    ] {
        assert_eq!(get_with(&app, path, &html).status, status, "{path}");
    }
    let response = get_with(&app, "/users/1", &html);
    assert_eq!((text(&response).as_str(), field(&response, "Vary").as_str()), ("app", "Accept"));
    assert_eq!(field(&response, "Content-Type"), "text/html; charset=utf-8");
    assert_eq!(get_with(&app, "/users/1", &[("Accept", "application/json")]).status, 404);
    assert_eq!(get(&app, "/users/1").status, 404);
}

#[test]
fn a_compressed_file_beside_is_sent_to_clients_that_accept_it() {
    let files = [("a.js", "original"), ("a.js.br", "brotli"), ("a.js.gz", "gzip"), ("b.js", "alone")];
    let (folder, app) = site(&files, |options| options.precompressed = true);
    let original = get(&app, "/a.js");
    assert_eq!((text(&original).as_str(), field(&original, "Vary").as_str()), ("original", "Accept-Encoding"));
    for (accept, coding, body) in [
        ("gzip, br", "br", "brotli"),
        ("gzip, br;q=0.1", "gzip", "gzip"),
        ("zstd", "", "original"),
        ("identity, *;q=0", "", "original"),
    ] {
        let response = get_with(&app, "/a.js", &[("Accept-Encoding", accept)]);
        assert_eq!(
            (field(&response, "Content-Encoding").as_str(), text(&response).as_str()),
            (coding, body),
            "{accept}"
        );
        assert_eq!(field(&response, "Content-Type"), field(&original, "Content-Type"));
        assert_eq!(field(&response, "ETag") == field(&original, "ETag"), coding.is_empty(), "each has a tag: {accept}");
    }
    assert_eq!(text(&get_with(&app, "/b.js", &[("Accept-Encoding", "br")])), "alone");
    let response = get(&app, "/a.js.gz");
    assert_eq!(
        (field(&response, "Content-Type").as_str(), response.header("Content-Encoding")),
        ("application/gzip", None)
    );

    // A range is one of the representation that was chosen.
    let br = get_with(&app, "/a.js", &[("Accept-Encoding", "br")]);
    let fields = [("Accept-Encoding", "br"), ("Range", "bytes=0-2"), ("If-Range", &field(&br, "ETag"))];
    let response = get_with(&app, "/a.js", &fields);
    assert_eq!(
        (response.status, text(&response).as_str(), field(&response, "Content-Encoding").as_str()),
        (206, "bro", "br")
    );
    assert_eq!(get_with(&app, "/a.js", &fields[1..]).status, 200, "the tag is that of another representation");

    let (now, path) = (SystemTime::now(), folder.join("a.js"));
    File::options().write(true).open(path).unwrap().set_modified(now).unwrap();
    assert_eq!(text(&get_with(&app, "/a.js", &[("Accept-Encoding", "br")])), "original", "out of date");
}
