//! `amboss ./folder`, and what stands around an application: `--static`, `--cgi` and `--allowed-host`.

use amboss_testkit::{Response, TempDir};

use crate::{amboss, connect, Amboss};

/// A folder `www` with an index, a folder without one, and names that must not be served; beside it a secret file.
fn site() -> TempDir {
    let site = TempDir::new("site");
    site.write("www/index.html", "<!doctype html><p>the index");
    site.write("www/app.js", "let app;");
    site.write("www/docs/a.txt", "a text\n");
    site.write("www/.env", "SECRET=1");
    site.write("secret.txt", "SECRET=2");
    #[cfg(unix)]
    for (target, link) in [("../secret.txt", "www/leaves.txt"), ("docs/a.txt", "www/stays.txt")] {
        std::os::unix::fs::symlink(target, site.join(link)).unwrap();
    }
    site
}

/// Starts the command on a free port.
fn start(arguments: &[&str]) -> Amboss {
    Amboss::start(&[&["--port", "0"], arguments].concat())
}

/// Sends a GET request with these fields on a connection of its own.
#[track_caller]
fn get(server: &Amboss, path: &str, fields: &str) -> Response {
    connect(server.port()).with_fields(fields).get(path)
}

/// Whether the development application has responded.
fn is_app(response: &Response) -> bool {
    response.status == 200 && response.text().contains("PATH_INFO")
}

/// Asserts that the command prints a message with these words, serves nothing, and exits with code 2.
#[track_caller]
fn refuses(arguments: &[&str], words: &str) {
    let output = amboss(&[&["--port", "0"], arguments].concat()).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {printed}");
    assert!(printed.starts_with("error: ") && printed.contains(words), "{arguments:?}: {printed}");
    assert!(!printed.contains("Running on"), "{arguments:?}: {printed}");
    let message = printed.split("\n\n").next().unwrap_or_default();
    assert!(message.lines().count() == 1, "{arguments:?}: one line says what to do: {printed}");
}

#[test]
fn a_folder_is_served_with_index_and_listing_and_nothing_from_outside() {
    let site = site();
    let server = start(&[&site.join_str("www")]);
    assert_eq!(get(&server, "/", "").text(), "<!doctype html><p>the index");
    let redirect = get(&server, "/docs?x=1", "");
    assert_eq!((redirect.status, redirect.field("Location")), (308, Some("/docs/?x=1")));
    let listing = get(&server, "/docs/", "Accept: text/html\r\n");
    assert!(listing.status == 200 && listing.text().contains("href=\"a.txt\""), "{}", listing.text());
    let file = get(&server, "/docs/a.txt", "");
    assert_eq!((file.status, file.text().as_str()), (200, "a text\n"));
    assert_eq!(file.field("Cache-Control"), Some("no-cache"));
    let condition = format!("If-None-Match: {}\r\n", file.field("ETag").expect("a file has an ETag"));
    assert_eq!(get(&server, "/docs/a.txt", &condition).status, 304);
    for path in ["/missing", "/.env", "/docs/%2e%2e/.env", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/../secret.txt"] {
        let refused = get(&server, path, "");
        assert!((400..500).contains(&refused.status) && !refused.text().contains("SECRET"), "{path} {}", refused.head);
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_within_the_folder_and_is_404_if_it_leaves_it() {
    let site = site();
    let server = start(&[&site.join_str("www")]);
    assert_eq!(get(&server, "/stays.txt", "").text(), "a text\n");
    let leaves = get(&server, "/leaves.txt", "");
    assert!(leaves.status == 404 && !leaves.text().contains("SECRET"), "{} {}", leaves.status, leaves.text());
}

#[test]
fn flags_change_how_a_folder_is_served() {
    let site = site();
    let www = site.join_str("www");
    let page = "Accept: text/html\r\n";
    let plain = start(&[&www]);
    let no_listing = start(&[&www, "--no-listing"]);
    let spa = start(&[&www, "--spa"]);
    let cached = start(&[&www, "--cache", "60"]);
    for (server, path, status) in [
        (&plain, "/docs/", 200),
        (&no_listing, "/docs/", 404),
        (&no_listing, "/docs/a.txt", 200),
        (&plain, "/some/page", 404),
        (&spa, "/some/page", 200),
        (&spa, "/missing.js", 404),
    ] {
        assert_eq!(get(server, path, page).status, status, "{path}");
    }
    assert!(get(&spa, "/some/page", page).text().ends_with("the index"));
    assert_eq!(get(&spa, "/some/page", "Accept: application/json\r\n").status, 404);
    assert_eq!(get(&cached, "/app.js", "").field("Cache-Control"), Some("public, max-age=60"));
}

#[test]
fn folders_and_files_are_served_beside_an_application() {
    let site = site();
    let mount = |prefix: &str, path: &str| format!("{prefix}={}", site.join_str(path));
    let server = start(&[
        "--static",
        &mount("/assets", "www"),
        "--static",
        &mount("/assets/notes/", "www/docs"),
        "--static",
        &mount("/robots.txt", "secret.txt"),
    ]);
    for (path, text) in [
        ("/assets/app.js", "let app;"),
        ("/assets/", "<!doctype html><p>the index"),
        ("/assets/docs/a.txt", "a text\n"),
        ("/assets/notes/a.txt", "a text\n"),
        ("/robots.txt", "SECRET=2"),
    ] {
        assert_eq!(get(&server, path, "").text(), text, "{path}");
    }
    // A missing file, a folder that is not listed, and all other paths are for the application.
    for path in ["/", "/app.js", "/assets/missing", "/assets/.env", "/assets/docs/", "/robots.txt/x", "/assetsx"] {
        assert!(is_app(&get(&server, path, "")), "{path}");
    }
}

#[cfg(unix)]
#[test]
fn cgi_scripts_run_beside_an_application() {
    use std::os::unix::fs::PermissionsExt;

    let site = site();
    let script = "#!/bin/sh\nprintf 'Status: 201 Made\\r\\nContent-Type: text/plain\\r\\n\\r\\n'\n\
                  echo \"$REQUEST_METHOD $SCRIPT_NAME $PATH_INFO $QUERY_STRING $HTTP_PROXY\"\ncat\n";
    site.write("cgi/hello.sh", script);
    std::fs::set_permissions(site.join("cgi/hello.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    site.write("cgi/not-executable.sh", script);
    let server = start(&["--cgi", &format!("/cgi={}", site.join_str("cgi"))]);
    let mut client = connect(server.port());
    client.send(
        "POST /cgi/hello.sh/more?a=b HTTP/1.1\r\nHost: localhost\r\nProxy: evil\r\nContent-Length: 5\r\n\r\n12345",
    );
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (201, "POST /cgi/hello.sh /more a=b \n12345"));
    let forbidden = get(&server, "/cgi/not-executable.sh", "");
    assert!(forbidden.status == 403 && !forbidden.text().contains("printf"), "{}", forbidden.text());
    assert_eq!(get(&server, "/cgi/missing.sh", "").status, 404);
    assert!(is_app(&get(&server, "/other", "")));
}

#[test]
fn only_allowed_hosts_are_answered() {
    let site = site();
    let mount = format!("/assets={}", site.join_str("www"));
    let hosts = ["--allowed-host", "shop.test", "--allowed-host", "*.dev.test"];
    let server = start(&[&hosts[..], &["--static", &mount]].concat());
    let request = |path: &str, host: &str| {
        let mut client = connect(server.port());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.response()
    };
    for host in
        ["localhost", "api.localhost:5000", "127.0.0.1", "192.0.2.1:80", "[::1]:5000", "SHOP.test:80", "a.dev.test"]
    {
        assert!(is_app(&request("/", host)), "{host}");
        assert_eq!(request("/assets/app.js", host).status, 200, "{host}");
    }
    for host in ["evil.test", "shop.test.evil.test", "xshop.test", "dev.test", "127.0.0.1.evil.test"] {
        for path in ["/", "/assets/app.js"] {
            let refused = request(path, host);
            let text = refused.text();
            assert!(refused.status == 421 && text.contains(&format!("--allowed-host {host}")), "{host} {path}: {text}");
            assert!(!text.contains("PATH_INFO") && !text.contains("let app"), "{host} {path}: {text}");
        }
    }
    let mut client = connect(server.port());
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(is_app(&client.response()), "a client without a Host is no browser");
}

#[test]
fn hosts_have_applications_of_their_own() {
    let site = site();
    let docs = format!("docs.localhost={}", site.join_str("www"));
    let any = format!("*.test={}", site.join_str("www/docs/"));
    let server = start(&["--vhost", &docs, "--vhost", &any, "--allowed-host", "shop.example"]);
    assert!(
        server.banner.contains(&format!("Running on http://docs.localhost:{}\n", server.port())),
        "{}",
        server.banner
    );
    for (host, path, text) in [
        ("docs.localhost", "/", "the index"),
        ("DOCS.localhost:81", "/docs/a.txt", "a text"),
        ("a.test", "/a.txt", "a text"),
        ("localhost", "/", "PATH_INFO"),
        ("shop.example", "/", "PATH_INFO"),
        ("127.0.0.1", "/", "PATH_INFO"),
        ("evil.example", "/", "--allowed-host evil.example"),
    ] {
        let mut client = connect(server.port());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response = client.response();
        assert!(response.text().contains(text), "{host}: {} {}", response.head, response.text());
    }
}

#[test]
fn what_can_not_be_served_is_refused_in_one_sentence_before_anything_is_served() {
    let site = site();
    let (www, missing) = (site.join_str("www"), site.join_str("missing"));
    let (file, slash) = (site.join_str("www/app.js"), site.join_str("missing/"));
    let of = |prefix: &str, path: &str| format!("{prefix}={path}");
    for (arguments, words) in [
        (&[&*missing][..], "missing does not exist: create it, or correct the path"),
        (&[&slash], "does not exist"),
        (&[&file], "is not a folder: name the folder that contains the files"),
        (&["--static", &of("/x", &missing)], "missing does not exist: create it, or correct the path"),
        (&["--static", &of("x", &www)], "write it as /prefix=path"),
        (&["--static", &www], "write it as /prefix=path"),
        (&["--static", "/x="], "write it as /prefix=path"),
        (&["--static", &of("/a/../b", &www)], "write one that begins with a slash"),
        (&["--static", &of("/x", &www), "--static", &of("/x/", &file)], "is given twice"),
        (&["--spa"], "--spa is for a folder of files; name one"),
        (&["--no-listing"], "--no-listing is for a folder of files; name one"),
        (&["--cache", "60"], "--cache is for a folder of files; name one"),
        (&[&www, "--cache", "x"], "give whole seconds, from 0 to 31536000"),
        (&["--allowed-host", "http://shop.test"], "give a name without a scheme and a port"),
        (&["--allowed-host", "shop.test:5000"], "give a name without a scheme and a port"),
        (&["--allowed-host", "*"], "give a name without a scheme and a port"),
        (&["--vhost", "api.localhost"], "write it as host=app"),
        (&["--vhost", &of("a.localhost", &missing)], "missing does not exist: create it, or correct the path"),
        (&["--vhost", &of("a.localhost:81", &www)], "is not the name of a host: write it without a port"),
        (&["--vhost", &of("a.test", &www), "--vhost", &of("A.test", &www)], "two applications for the host"),
        (&["--allowed-host", ""], "give a name without a scheme and a port"),
        #[cfg(unix)]
        (&["--cgi", &of("/x", &missing)], "missing can't be opened"),
        #[cfg(unix)]
        (&["--cgi", &of("x", &www)], "write it as /prefix=path"),
        #[cfg(unix)]
        (&["--cgi", &of("/x", &www), "--cgi", &of("/x/", &www)], "is given twice"),
    ] {
        refuses(arguments, words);
    }
}

#[cfg(all(unix, feature = "reload"))]
mod supervised {
    use std::os::unix::fs::PermissionsExt;

    use amboss_testkit::{child_processes, skip, wait_until};

    use super::*;
    use crate::running::{amboss_in, Running};

    #[test]
    fn an_unreadable_folder_is_refused() {
        let site = site();
        std::fs::set_permissions(site.join("www"), PermissionsExt::from_mode(0o000)).unwrap();
        if std::fs::read_dir(site.join("www")).is_ok() {
            return skip("root can read every folder");
        }
        refuses(&[&site.join_str("www")], "allow the server's user to read it");
        refuses(&["--static", &format!("/x={}", site.join_str("www"))], "allow the server's user to read it");
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        let site = site();
        let www = site.join_str("www");
        let mount = format!("/x={www}");
        for (arguments, words) in [
            (&[&*www, "--preload"][..], "--preload is for a Python application"),
            (&[&www, "--", "sleep", "1"], "APP and PROGRAM can't both be served"),
            (&["--static", &mount, "--", "sleep", "1"], "--static is for amboss's own server"),
            (&["--cgi", &mount, "--", "sleep", "1"], "--cgi is for amboss's own server"),
            (&["--allowed-host", "a.test", "--", "sleep", "1"], "--allowed-host is for amboss's own server"),
        ] {
            refuses(arguments, words);
        }
    }

    #[test]
    fn workers_serve_folders_and_scripts() {
        let site = site();
        for arguments in [&["./www"][..], &["--static", "/=www", "--allowed-host", "a"]] {
            let arguments = [&["-p", "0", "--workers", "2"], arguments].concat();
            let running = Running::start(&mut amboss_in(&site, &arguments));
            wait_until("both workers run", || child_processes(running.pid()).len() == 2);
            for _ in 0..4 {
                assert_eq!(connect(running.port()).get("/docs/a.txt").text(), "a text\n", "{arguments:?}");
            }
        }
    }

    #[test]
    fn a_supervisor_refuses_what_its_workers_could_not_serve() {
        let site = site();
        let missing = site.join_str("missing");
        for arguments in [&["--workers", "2", &*missing][..], &["--workers", "2", "--static", &format!("/x={missing}")]]
        {
            refuses(arguments, "missing does not exist: create it, or correct the path");
        }
    }
}
