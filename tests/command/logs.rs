//! Where access lines, errors and messages go.

use amboss_testkit::{send_signal, wait_until};

use crate::get;
use crate::running::{amboss_in, read, test_dir, Running};

/// A line of the access log for a request of [`get`].
const LINE: &str = "\"GET /a b?q=1 HTTP/1.1\" 200 ";

/// The beginning of the message about HUP, which is one for the error log.
const ERROR: &str = "HUP: ";

#[test]
fn access_lines_and_errors_go_to_the_files_of_their_flags() {
    for (flags, access, errors) in [
        (&["--access-logfile", "a"][..], "a", "stderr"),
        (&["--error-logfile", "e"], "stderr", "e"),
        (&["--access-logfile", "a", "--error-logfile", "e"], "a", "e"),
        (&["--log-file", "both"], "both", "both"),
        (&["--log-file", "e", "--access-logfile", "a"], "a", "e"),
        (&["--access-logfile", "-", "--error-logfile", "e"], "stdout", "e"),
        (&["--access-logfile", "a", "--error-logfile", "-"], "a", "stderr"),
        (&["--no-access-log", "--error-logfile", "e"], "", "e"),
        (&["--no-access-log"], "", "stderr"),
    ] {
        let dir = test_dir();
        let mut server = Running::start(&mut amboss_in(&dir, &[&["-p", "0"], flags].concat()));
        get(server.port(), "");
        server.signal("HUP");
        let text = |place: &str, server: &Running| match place {
            "stdout" => server.stdout(),
            "stderr" => server.stderr(),
            name => read(&dir, name),
        };
        wait_until("the error is logged", || text(errors, &server).contains(ERROR));
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
        for place in ["a", "e", "both", "stdout", "stderr"] {
            let text = text(place, &server);
            assert_eq!(text.contains(LINE), place == access, "{flags:?}: {place}: {text}");
            assert_eq!(text.contains(ERROR), place == errors, "{flags:?}: {place}: {text}");
        }
    }
}

#[test]
fn usr1_reopens_each_file() {
    let dir = test_dir();
    let flags = ["-p", "0", "-w", "2", "--access-logfile", "a", "--error-logfile", "e"];
    let server = Running::start(&mut amboss_in(&dir, &flags));
    get(server.port(), "");
    wait_until("the request is logged", || read(&dir, "a").contains(LINE));
    for name in ["a", "e"] {
        std::fs::rename(dir.join(name), dir.join(&format!("{name}.1"))).expect("the file can be renamed");
    }
    send_signal(server.pid(), "USR1");
    wait_until("both files are there, and requests are logged", || {
        get(server.port(), "");
        dir.join("e").exists() && read(&dir, "a").contains(LINE)
    });
}

#[test]
fn the_level_says_which_messages_are_printed() {
    let dir = test_dir();
    let flags = |level: &'static str| ["-b", "unix:socket", "--log-level", level, "--access-logfile", "a"];
    for (level, banner, errors) in [
        ("debug", true, true),
        ("info", true, true),
        ("warning", false, true),
        ("error", false, true),
        ("critical", false, false),
    ] {
        let mut server = Running::spawn(&mut amboss_in(&dir, &flags(level)));
        wait_until("the server answers", || {
            let client = std::os::unix::net::UnixStream::connect(dir.join("socket")).map(amboss_testkit::Client::on);
            client.is_ok_and(|mut client| client.try_get("/a%20b?q=1").is_ok())
        });
        wait_until("the request is logged, whatever the level", || read(&dir, "a").contains(LINE));
        server.signal("HUP");
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
        let printed = server.output();
        assert_eq!(printed.contains("Running on"), banner, "{level}: {printed}");
        assert_eq!(printed.contains(ERROR), errors, "{level}: {printed}");
        std::fs::remove_file(dir.join("a")).expect("the file is there");
    }
}

#[test]
fn access_lines_have_the_format_of_gunicorn() {
    let dir = test_dir();
    let format = r#"%(h)s %(u)s "%(m)s %(U)s %(q)s" %(s)s %({x-mark}i)s %({x-none}i)s 100%%"#;
    let server = Running::start(&mut amboss_in(&dir, &["-p", "0", "--log-file", "log", "--access-logformat", format]));
    get(server.port(), "X-Mark: \"a\"\r\nAuthorization: Basic QWRhOnNlY3JldA==\r\n");
    wait_until("the request is logged", || read(&dir, "log").ends_with('\n'));
    assert_eq!(read(&dir, "log"), "127.0.0.1 Ada \"GET /a%20b q=1\" 200 \\\"a\\\" - 100%\n");
    crate::fails(&["--access-log-format", "%(x)s"], 2, "there is no part %(x)s; there are %(X)s with h, l, u, t");
}

#[test]
fn a_slow_request_has_a_line_in_the_error_log() {
    let dir = test_dir();
    let script = "#!/bin/sh\nsleep 0.3\necho Content-Type: text/plain\necho\necho done\n";
    dir.write_program("cgi/slow", script);
    let mount = format!("/cgi={}", dir.join_str("cgi"));
    let flags = ["-p", "0", "--log-slow", "200ms", "--error-logfile", "e", "--no-access-log", "--cgi", &mount];
    let server = Running::start(&mut amboss_in(&dir, &flags));
    get(server.port(), "");
    assert_eq!(crate::connect(server.port()).get("/cgi/slow").text(), "done\n");
    wait_until("the request is logged", || read(&dir, "e").contains('\n'));
    let log = read(&dir, "e");
    let (before, after) =
        ("slow request: \"GET /cgi/slow HTTP/1.1\" from 127.0.0.1 took 0.", " s waiting for a thread; status 200, ");
    assert!(log.starts_with(before) && log.contains(after) && log.lines().count() == 1, "{log}");
}

#[test]
fn a_request_has_one_id_in_the_environ_the_log_and_the_response() {
    let dir = test_dir();
    let flags = ["-p", "0", "--request-id", "--log-format", "json", "--access-logfile", "log"];
    for (extra, sent, is_kept) in [
        (&[][..], Some("from-proxy.1"), true),
        (&[], Some("not an id"), false),
        (&[], None, false),
        (&["--forwarded-allow-ips", "10.0.0.1"], Some("from-anybody"), false),
    ] {
        let server = Running::start(&mut amboss_in(&dir, &[&flags[..], extra].concat()));
        let field = sent.map(|id| format!("X-Request-ID: {id}\r\n")).unwrap_or_default();
        let mut client = crate::connect(server.port()).with_fields(&format!("Accept: application/json\r\n{field}"));
        let mut ids = std::collections::HashSet::new();
        for _ in 0..2 {
            let response = client.get("/");
            let id = response.field("X-Request-ID").expect("the response has an ID").to_owned();
            assert_eq!(sent == Some(&*id), is_kept, "{id}");
            assert!(response.text().contains(&format!("\"HTTP_X_REQUEST_ID\": \"{id}\"")), "{}", response.text());
            wait_until("the ID is in the log", || read(&dir, "log").contains(&format!("\"request_id\":\"{id}\"")));
            ids.insert(id);
        }
        assert_eq!(ids.len(), if is_kept { 1 } else { 2 });
        // Requests that arrive together have IDs of their own.
        client.send(format!("GET /1 HTTP/1.1\r\nHost: a\r\n{field}\r\nGET /2 HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        for path in ["/1", "/2"] {
            let id = client.response().field("X-Request-ID").expect("the response has an ID").to_owned();
            let logged = |line: &str| line.contains(&format!("\"path\":\"{path}\"")) && line.contains(&id);
            wait_until("the ID is logged", || read(&dir, "log").lines().any(logged));
        }
        // A refused request has none.
        client.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
        assert_eq!(client.response().field("X-Request-ID"), None);
        wait_until("the refusal is logged", || read(&dir, "log").contains("\"status\":400"));
        assert!(read(&dir, "log").lines().all(|line| line.contains("\"status\":400") != line.contains("request_id")));
        std::fs::remove_file(dir.join("log")).expect("the file is there");
    }
    let server = Running::start(&mut amboss_in(&dir, &["-p", "0"]));
    assert_eq!(crate::connect(server.port()).get("/").field("X-Request-ID"), None);
}
