//! What a script writes becomes a response, or an error that says why.

use amboss_core::http::Head;
use amboss_core::{create_environ, run_wsgi_app, AppError, Application, Body, Environ, StartResponse};
use amboss_testkit::{wait_until, TempDir};
use amboss_toolkit::cgi::{CgiErrorKind, CgiFolder};

use crate::support::{write_script, ScriptServer};

#[test]
fn the_head_of_a_script_sets_status_and_fields() {
    // The output of the script; status, field and body of the response. `None` stands for an error page.
    type Expected<'a> = Option<(&'a str, &'a str, &'a str)>;
    let cases: [(&str, u16, Expected<'_>); 17] = [
        (r"Content-Type: text/plain\n\nhello", 200, Some(("Content-Type", "text/plain", "hello"))),
        (r"Content-Type: text/plain\r\nX: y\r\n\r\nhello", 200, Some(("X", "y", "hello"))),
        (r"Status: 404 Gone Fishing\nContent-Type: a/b\n\nno", 404, Some(("Content-Type", "a/b", "no"))),
        (r"Status: 204\n\n", 204, Some(("Status", "", ""))),
        (r"Location: /other?x#y\n\n", 302, Some(("Location", "/other?x#y", ""))),
        (r"Location: https://example.org/\n\n", 302, Some(("Location", "https://example.org/", ""))),
        (r"Status: 301\nLocation: /\nContent-Type: a/b\n\nmoved", 301, Some(("Location", "/", "moved"))),
        (r"Content-Type: a/b\nConnection: keep-alive\nKeep-Alive: 5\n\nx", 200, Some(("Keep-Alive", "", "x"))),
        (r"Content-Type: a/b\nContent-Length: 3\n\nabcdef", 200, Some(("Content-Length", "3", "abc"))),
        (r"Content-Type: a/b\n\n", 200, Some(("Content-Type", "a/b", ""))),
        (r"HTTP/1.1 200 OK\nContent-Type: a/b\n\nx", 502, None),
        (r"hello\n", 502, None),
        (r"Content-Type: a/b\n", 502, None),
        (r"", 502, None),
        (r"Status: 200\n\nbody without a type", 502, None),
        (r"Content-Type: a/b\nTransfer-Encoding: chunked\n\n0\r\n\r\n", 502, None),
        (r"Status: 200\nSet-Cookie: a\rb\n\n", 502, None),
    ];
    for (text, status, expected) in cases {
        let script = format!("#!/bin/sh\nprintf '{text}'\n");
        let server = ScriptServer::start(&[("run", &script)]);
        let response = server.get("/cgi/run");
        assert!(response.complete, "{text}");
        assert_eq!(response.status, status, "{text}: {}", server.log.text());
        match expected {
            Some((name, value, body)) => {
                assert_eq!(
                    (response.field(name).unwrap_or_default(), response.text().as_str()),
                    (value, body),
                    "{text}"
                );
                assert_eq!(server.log.text(), "");
            }
            None => {
                assert!(response.text().contains("log"), "{}", response.text());
                assert!(server.log.text().starts_with("CGI script /cgi/run: "), "{}", server.log.text());
            }
        }
    }
}

#[test]
fn blocks_arrive_while_the_script_runs() {
    let script = "#!/bin/sh
printf 'Content-Type: text/plain\\n\\none\\n'
while [ ! -e go ]; do sleep 0.01; done
echo two
";
    let server = ScriptServer::start(&[("run", script)]);
    let mut client = server.connect();
    client.send_get("/cgi/run");
    client.until("one\n");
    server.dir.write("go", "");
    client.until("two\n");
    client.until("0\r\n\r\n");
}

#[test]
fn a_head_request_gets_no_body_and_the_script_runs_to_its_end() {
    let script = "#!/bin/sh
printf 'Content-Type: text/plain\\nContent-Length: 100000\\n\\n'
head -c 100000 /dev/zero
sleep 0.2
echo $REQUEST_METHOD > method
";
    let server = ScriptServer::start(&[("run", script)]);
    let mut client = server.connect();
    client.send("HEAD /cgi/run HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response_to_head();
    assert_eq!((response.status, response.field("Content-Length")), (200, Some("100000")));
    let ended = |method: &str| std::fs::read_to_string(server.dir.join("method")).is_ok_and(|text| text == method);
    wait_until("the script has ended", || ended("HEAD\n"));
    // The same with the body: the server stops at the declared length, and the script still ends properly.
    assert_eq!(client.get("/cgi/run").body.len(), 100_000);
    wait_until("the script has ended", || ended("GET\n"));
}

#[test]
fn what_cannot_be_run_is_refused_with_a_sentence() {
    let server = ScriptServer::start(&[
        ("run", "#!/bin/sh\nprintf 'Status: 204\\n\\n'\n"),
        ("nph-run", "#!/bin/sh\n"),
        ("bad", "#!/no/such/interpreter\n"),
        ("text", "This is not a program.\n"),
        ("fails", "#!/bin/sh\necho oh no >&2\nexit 3\n"),
    ]);
    server.dir.write("secret.py", "password = 'x'");
    for (path, status, sentence, logged) in [
        ("/cgi/missing", 404, "no script", ""),
        ("/cgi/", 404, "no script", ""),
        ("/cgi", 404, "no script", ""),
        ("/other", 404, "", ""),
        ("/cgi/%2e%2e/cgi/run", 404, "no script", ""),
        ("/cgi/run/%00", 404, "no script", ""),
        ("/cgi/secret.py", 403, "log of the server", "chmod +x"),
        ("/cgi/nph-run", 501, "nph-", "nph-"),
        ("/cgi/bad", 502, "log", "interpreter in its first line"),
        ("/cgi/text", 502, "log", "CGI script /cgi/text: it "),
        ("/cgi/fails", 502, "log", "oh no\nCGI script /cgi/fails: it has ended (exit status: 3)"),
    ] {
        let response = server.get(path);
        assert_eq!(response.status, status, "{path}");
        assert!(response.text().contains(sentence), "{path}: {}", response.text());
        assert!(!response.text().contains("password"), "{path}");
        assert!(server.log.text().contains(logged), "{path}: {}", server.log.text());
    }
    assert_eq!(server.get("/cgi/run").status, 204);
}

#[test]
fn standard_error_goes_to_the_log() {
    let script = "#!/bin/sh\nprintf 'Content-Type: a/b\\n\\nx'\nfor n in 1 2 3; do echo \"warning $n\" >&2; done\nprintf unfinished >&2\n";
    let server = ScriptServer::start(&[("run", script)]);
    assert_eq!(server.get("/cgi/run").text(), "x");
    wait_until("all lines are logged", || server.log.text().contains("unfinished"));
    let lines: Vec<_> =
        ["warning 1", "warning 2", "warning 3", "unfinished"].map(|l| format!("CGI script /cgi/run: {l}")).into();
    assert_eq!(server.log.text(), lines.join("\n"));
}

#[test]
fn a_script_that_fails_midway_has_its_response_cut() {
    let head = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhalf'; sleep 0.1;";
    let length = "#!/bin/sh\nprintf 'Content-Type: text/plain\\nContent-Length: 4\\n\\nhalf'; sleep 0.1;";
    let (exits, dies) = (format!("{head} exit 1\n"), format!("{head} kill -SEGV $$\n"));
    let (whole, short) = (format!("{length} exit 1\n"), format!("{} exit 0\n", length.replace("4", "5")));
    let scripts = [("exits", exits.as_str()), ("dies", &dies), ("whole", &whole), ("short", &short)];
    for check in [true, false] {
        let server = ScriptServer::start_with(&scripts, |options, _| options.check_exit_status = check);
        for (name, complete) in [("exits", !check), ("dies", !check), ("whole", true), ("short", false)] {
            let response = server.get(&format!("/cgi/{name}"));
            assert_eq!((response.text().as_str(), response.complete), ("half", complete), "{name} {check}");
        }
    }
}

#[test]
fn a_folder_that_is_not_there_and_a_prefix_without_a_slash_are_errors() {
    let dir = TempDir::new("cgi-errors");
    dir.write("file", "");
    let error = CgiFolder::new("/cgi", dir.join("missing")).unwrap_err();
    assert!(matches!(error.kind(), CgiErrorKind::Folder(..)) && error.to_string().contains("missing"), "{error}");
    assert!(CgiFolder::new("/cgi", dir.join("file")).is_err());
    assert!(CgiFolder::new("/cgi//x", dir.path()).is_err() && CgiFolder::new("/cgi/../x", dir.path()).is_err());
    let error = CgiFolder::new("cgi", dir.path()).unwrap_err();
    assert!(error.to_string().contains("\"/cgi-bin\""), "{error}");
}

#[test]
fn a_folder_works_as_middleware_and_behind_middleware() {
    fn other(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        start_response.start("200 OK", &[])?;
        Ok(Body::from("other"))
    }
    let dir = TempDir::new("cgi-middleware");
    write_script(&dir, "run", "#!/bin/sh\nprintf \"Content-Type: a/b\\n\\n$SCRIPT_NAME $PATH_INFO\"\n");
    let cgi = CgiFolder::new("/cgi/", dir.path()).unwrap().with_fallback(other);
    for (path, base, body) in [
        ("/cgi/run/x", "http://localhost", "/cgi/run /x"),
        ("/cgi/run/x", "http://localhost/app", "/app/cgi/run /x"),
        ("/cgix/run", "http://localhost", "other"),
        ("/", "http://localhost", "other"),
    ] {
        let response = run_wsgi_app(&cgi, &mut create_environ(path, base).unwrap().environ()).unwrap();
        assert_eq!(String::from_utf8(response.body).unwrap(), body);
    }
    let root = CgiFolder::new("/", dir.path()).unwrap();
    let response = run_wsgi_app(&root, &mut create_environ("/run", "http://localhost").unwrap().environ()).unwrap();
    assert_eq!(response.body, b"/run ");
    struct Immediate;
    impl Application for Immediate {
        fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
            other(environ, start_response)
        }
        fn is_immediate(&self, _: Head<'_>, _: &mut dyn FnMut()) -> bool {
            true
        }
    }
    let cgi = cgi.with_fallback(Immediate);
    for (path, is_immediate) in [("/other", true), ("/cgix", true), ("/cgi/run", false), ("/%63gi/run", false)] {
        let mut owned = create_environ(path, "http://localhost").unwrap();
        assert_eq!(cgi.is_immediate(owned.environ().head(), &mut || {}), is_immediate, "{path}");
    }
    assert!(root.matches("/run") && cgi.matches("/cgi/x") && !cgi.matches("/cgix"));
}

#[test]
fn a_script_that_is_being_saved_is_started_a_moment_later() {
    let server = ScriptServer::start(&[("run", "#!/bin/sh\nprintf 'Status: 204\\n\\n'\n")]);
    let open = std::fs::File::options().append(true).open(server.dir.join("run")).unwrap();
    let saving = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(open);
    });
    assert_eq!(server.get("/cgi/run").status, 204, "{}", server.log.text());
    saving.join().unwrap();
}

/// A response does not wait for what the script does after it, and the script is not killed then.
#[test]
fn a_complete_response_is_sent_while_its_script_works_on() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\nContent-Length: 3\\n\\nabc'\n\
                  while [ ! -e go ]; do sleep 0.02; done; printf more; : > finished-$REQUEST_METHOD\n";
    let server = ScriptServer::start(&[("run", script)]);
    assert_eq!(server.get("/cgi/run").text(), "abc");
    let mut client = server.connect();
    client.send("HEAD /cgi/run HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().field("Content-Length"), Some("3"));
    let has_ended = |method: &str| server.dir.join(&format!("finished-{method}")).exists();
    assert!(!has_ended("GET") && !has_ended("HEAD"));
    server.dir.write("go", "");
    wait_until("both scripts have ended", || has_ended("GET") && has_ended("HEAD"));
}

/// The script exits while the server looks whether it is still there: at multiples of 100 ms.
#[test]
fn what_a_script_writes_right_before_its_exit_is_sent() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfirst '; sleep 0.09$1; printf last\n";
    let script = script.replace("$1", "${QUERY_STRING#*=}");
    let server = ScriptServer::start(&[("run", &script)]);
    std::thread::scope(|scope| {
        for number in 0..60 {
            let server = &server;
            scope.spawn(move || assert_eq!(server.get(&format!("/cgi/run?n={number}")).text(), "first last"));
        }
    });
}
