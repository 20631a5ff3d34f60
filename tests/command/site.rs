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
    let site = site();
    let script = "#!/bin/sh\nprintf 'Status: 201 Made\\r\\nContent-Type: text/plain\\r\\n\\r\\n'\n\
                  echo \"$REQUEST_METHOD $SCRIPT_NAME $PATH_INFO $QUERY_STRING $HTTP_PROXY\"\ncat\n";
    site.write_program("cgi/hello.sh", script);
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
        (
            &["--vhost", &of("a.localhost:81", &www)],
            "is not the name of a host: give a name without a scheme and a port",
        ),
        (&["--vhost", &of("a.test", &www), "--vhost", &of("a.test.", &www)], "two applications for the host"),
        (&["--allowed-host", "a.test,b.test"], "give a name without a scheme and a port"),
        (&["--allowed-host", "münchen.test"], "as browsers send it"),
        (&["--cache", "-1", &www], "give whole seconds, from 0 to 31536000"),
        (&["--proxy-protocol", "--forwarded-allow-ips", ""], "name them with --forwarded-allow-ips"),
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

    use amboss_testkit::{child_processes, is_alive, skip, wait_for, wait_until};

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

    /// Whether they have begun their response or not.
    #[test]
    fn scripts_end_with_the_server() {
        let site = site();
        let script = "#!/bin/sh\necho $$ > \"$QUERY_STRING\"\nsleep 100\n";
        site.write_program("cgi/wait", script);
        for workers in ["1", "2"] {
            let arguments = ["-p", "0", "--cgi", "/cgi=cgi", "--graceful-timeout", "0.2", "--workers", workers];
            let running = Running::start(&mut amboss_in(&site, &arguments));
            let name = format!("pid{workers}");
            let mut client = connect(running.port());
            client.send(format!("GET /cgi/wait?{name} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let pid = wait_for("the script runs", || {
                std::fs::read_to_string(site.join(&format!("cgi/{name}"))).ok()?.trim().parse::<u32>().ok()
            });
            running.signal("TERM");
            wait_until("the script is gone", || !is_alive(pid));
        }
    }

    #[test]
    fn a_host_can_be_a_program() {
        let site = site();
        let program = |name: &str, text: &str| site.write_program(name, &format!("#!/bin/sh\n{text}\n"));
        program("serve", &format!("echo $$ > pid; exec '{}' --quiet $1", env!("CARGO_BIN_EXE_amboss")));
        program("fails", "echo no such luck >&2; exit 1");
        for workers in ["1", "2"] {
            let _ = std::fs::remove_file(site.join("pid"));
            let arguments = [
                "-p",
                "0",
                "-w",
                workers,
                "--vhost",
                "app.localhost=./serve ./www",
                "--vhost",
                "bad.localhost=./fails",
            ];
            let running = Running::start(&mut amboss_in(&site, &arguments));
            let port = running.port();
            let ask = |host: &str, path: &str| {
                let mut client = connect(port);
                client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
                client.response()
            };
            assert!(is_app(&ask("localhost", "/")));
            assert_eq!(ask("app.localhost", "/docs/a.txt").text(), "a text\n");
            assert_eq!(ask("app.localhost", "/docs/b.txt").status, 404);
            let failed = ask("bad.localhost", "/");
            assert!(failed.status == 502 && failed.text().contains("can't be started"), "{}", failed.text());
            running.wait_for_output("no such luck");
            let pid = || std::fs::read_to_string(site.join("pid")).ok()?.trim().parse::<u32>().ok();
            let first = pid().unwrap();
            std::process::Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap();
            let second = wait_for("another one runs", || pid().filter(|&pid| pid != first));
            assert_eq!(ask("app.localhost", "/docs/a.txt").text(), "a text\n");
            running.signal("TERM");
            wait_until("the program has ended", || !is_alive(second));
        }
        let arguments = ["--processes", "2", "--vhost", &format!("a.localhost={}", site.join_str("serve"))];
        refuses(&arguments, "--processes would start the program of --vhost for each request");
    }

    #[test]
    fn a_page_of_a_folder_reloads_when_its_file_is_saved() {
        let site = site();
        site.write("www/index.html.gz", "compressed before");
        let running = Running::start(&mut amboss_in(&site, &["-p", "0", "--reload", "--live", "./www"]));
        let page = |path: &str| {
            connect(running.port()).with_fields("Accept: text/html\r\nAccept-Encoding: gzip\r\n").get(path)
        };
        let id = || {
            let text = page("/").text();
            text.split("live.js?").nth(1).map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
        };
        let before = wait_for("the page has the script", id);
        let listing = page("/docs/");
        assert!(listing.text().contains("/__amboss__/live.js"), "{}", listing.text());
        assert!(listing.field("Content-Security-Policy").is_some_and(|policy| policy.contains("script-src 'self'")));
        site.write("www/index.html", "<!doctype html><p>saved");
        wait_until("the server is another one", || id().is_some_and(|id| id != before));
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
