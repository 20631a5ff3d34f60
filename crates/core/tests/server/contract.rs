//! The contract between server and application, sentence by sentence.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use crate::support::*;
use amboss_core::{AppError, Application, Body, Environ, InputError, RequestHandler, StartError, StartResponse};

/// Pins down the shape of a closure, so that it needs no annotations.
fn app<F>(f: F) -> F
where
    F: Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> + Send + Sync,
{
    f
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// start_response

#[test]
fn starting_twice_is_an_error() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[])?;
        let again = start_response.start("201 Created", &[]);
        assert!(matches!(again, Err(StartError::Twice)), "{again:?}");
        Ok(Body::from("still fine"))
    });
    everywhere(app, |server| {
        let answer = server.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "still fine"));
    });
}

#[test]
fn starting_twice_with_an_error_replaces_the_head() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[("X-First", "1")])?;
        let error: AppError = "late doubts".into();
        start_response.begin("503 Service Unavailable", &[("X-Second", b"2")], Some(&error))?;
        Ok(Body::from("sorry"))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.text().as_str()), (503, "sorry"));
            assert_eq!((answer.field("X-First"), answer.field("X-Second")), (None, Some("2")));
        }
    });
}

#[test]
fn starting_with_an_error_after_the_head_was_sent_fails_and_cuts() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[])?;
        start_response.write(b"begun")?;
        let error: AppError = "too late".into();
        let again = start_response.begin("500 Internal Server Error", &[], Some(&error));
        assert!(matches!(again, Err(StartError::HeadSent)), "{again:?}");
        again?;
        Ok(Body::empty())
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, "begun", false));
        server.log.wait_for("the head has been sent already");
    });
}

#[test]
fn a_head_may_be_repaired_after_it_was_refused() {
    let app = app(|_, start_response| {
        assert!(start_response.start("200 OK", &[("X", "a\r\nb")]).is_err());
        start_response.start("200 OK", &[("X", "a")])?;
        Ok(Body::from("fine"))
    });
    everywhere(app, |server| assert_eq!(server.get("/").text(), "fine"));
}

#[test]
fn write_sends_at_once_and_the_body_follows() {
    let gate = Gate::default();
    let app = app({
        let gate = gate.clone();
        move |_, start_response| {
            start_response.start("200 OK", &[])?;
            start_response.write(b"")?;
            start_response.write(b"one")?;
            gate.pass();
            start_response.write(b"two")?;
            Ok(Body::from("three"))
        }
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send(GET);
        client.until("one\r\n");
        gate.open();
        assert_eq!(client.until("0\r\n\r\n"), b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    });
}

#[test]
fn write_before_start_is_an_error() {
    let app = app(|_, start_response| {
        assert!(matches!(start_response.write(b"x"), Err(StartError::NotStarted)));
        start_response.start("200 OK", &[])?;
        Ok(Body::from("fine"))
    });
    everywhere(app, |server| assert_eq!(server.get("/").text(), "fine"));
}

#[test]
fn without_start_the_answer_is_500() {
    let app = app(|_, _| Ok(Body::from("lost")));
    everywhere(app, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!(answer.status, 500);
            assert!(!answer.text().contains("lost"));
        }
        server.log.wait_for("without calling start_response");
    });
}

#[test]
fn an_error_before_the_head_is_a_500_and_the_connection_goes_on() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[("X-Left", "over")])?;
        match environ.path().as_ref() {
            b"/call" => Err("no luck today".into()),
            _ => Ok(Body::try_iter([Ok(Vec::new()), Err("no luck today".into())])),
        }
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for path in ["/call", "/iterator", "/call"] {
            let answer = client.get(path);
            assert_eq!((answer.status, answer.field("X-Left")), (500, None), "{path}");
            assert!(!answer.text().contains("luck"), "what went wrong is for the log only");
        }
        server.log.wait_for("no luck today");
    });
}

#[test]
fn an_error_after_the_head_cuts_the_connection_without_a_last_chunk() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[])?;
        Ok(Body::try_iter([Ok(b"begun".to_vec()), Err("no luck today".into())]))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, "begun", false));
        server.log.wait_for("no luck today");
        // A client of HTTP/1.0 can tell by a reset only.
        let mut client = server.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.rest();
        assert!(client.reset);
    });
}

#[test]
fn bytes_past_content_length_are_not_sent() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[("Content-Length", "3")])?;
        match environ.path().as_ref() {
            b"/bytes" => Ok(Body::from("abcdef")),
            b"/large" => Ok(Body::from(vec![b'a'; 100_000])),
            b"/write" => {
                start_response.write(b"ab")?;
                start_response.write(b"cd")?;
                Ok(Body::from("ef"))
            }
            _ => Ok(Body::iter(["ab", "cd", "ef"].map(|block| block.as_bytes().to_vec()))),
        }
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for path in ["/bytes", "/large", "/write", "/blocks", "/bytes"] {
            let answer = client.get(path);
            assert_eq!((answer.status, answer.body.len()), (200, 3), "{path}");
        }
    });
}

#[test]
fn too_few_bytes_for_content_length_cut_the_connection() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[("Content-Length", "100000")])?;
        match environ.path().as_ref() {
            b"/bytes" => Ok(Body::from("abc")),
            b"/large" => Ok(Body::from(vec![b'a'; 50_000])),
            b"/none" => Ok(Body::iter([])),
            _ => Ok(Body::iter(["ab", "cd"].map(|block| block.as_bytes().to_vec()))),
        }
    });
    everywhere(app, |server| {
        for (path, there) in [("/bytes", 3), ("/large", 50_000), ("/blocks", 4), ("/none", 0)] {
            let mut client = server.connect();
            let answer = client.get(path);
            assert_eq!((answer.status, answer.body.len(), answer.complete), (200, there, false), "{path}");
        }
        server.log.wait_for("declared more bytes than it gave");
        // HEAD and 304 describe a body they don't have.
        let mut client = server.connect();
        client.send("HEAD /bytes HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("100000"));
        client.send("HEAD /blocks HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("100000"));
    });
}

#[test]
fn heads_that_could_split_a_response_are_a_500_and_a_log_line() {
    let bad: &[(&str, &str, &str)] = &[
        ("200 OK", "X", "a\r\nSet-Cookie: evil"),
        ("200 OK", "X", "a\nb"),
        ("200 OK", "X", "a\rb"),
        ("200 OK", "X", "a\0b"),
        ("200 OK", "X\r\nY", "a"),
        ("200 OK", "X:", "a"),
        ("200 OK", "", "a"),
        ("200 OK\r\nX: evil", "X", "a"),
        ("two hundred", "X", "a"),
        ("100 Continue", "X", "a"),
        ("200 OK", "Connection", "close"),
        ("200 OK", "Keep-Alive", "5"),
        ("200 OK", "Transfer-Encoding", "chunked"),
        ("200 OK", "Upgrade", "x"),
        ("200 OK", "Trailer", "x"),
        ("200 OK", "TE", "x"),
        ("200 OK", "Proxy-Authenticate", "x"),
        ("200 OK", "Content-Length", "x"),
        ("101 Switching Protocols", "X", "nobody said on_upgrade"),
    ];
    let app = app(move |environ, start_response| {
        let (status, name, value) = bad[environ.text("QUERY_STRING").parse::<usize>()?];
        start_response.start(status, &[(name, value)])?;
        Ok(Body::from("never"))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for (index, case) in bad.iter().enumerate() {
            let answer = client.get(&format!("/?{index}"));
            assert_eq!(answer.status, 500, "{case:?}");
            assert!(!answer.head.contains("evil") && !answer.text().contains("never"), "{answer:?}");
        }
        assert_eq!(server.log.errors.lock().unwrap().len(), bad.len(), "{}", server.log.errors());
        for sentence in ["hop-by-hop", "control character", "field name", "status", "Content-Length"] {
            server.log.wait_for(sentence);
        }
    });
}

#[test]
fn date_and_server_are_added_only_when_missing() {
    let app = app(|environ, start_response| {
        match environ.path().as_ref() {
            b"/own" => start_response.start("200 OK", &[("date", "today"), ("SERVER", "mine")])?,
            _ => start_response.start("200 OK", &[])?,
        }
        Ok(Body::empty())
    });
    everywhere(app, |server| {
        let answer = server.get("/own");
        assert_eq!((answer.fields("Date"), answer.fields("Server")), (vec!["today"], vec!["mine"]));
        let answer = server.get("/");
        assert_eq!((answer.fields("Date").len(), answer.fields("Server").len()), (1, 1));
        assert!(answer.field("Date").unwrap().ends_with(" GMT"));
    });
}

// Body

#[test]
fn each_block_leaves_before_the_next_is_asked_for() {
    let gate = Gate::default();
    let app = app({
        let gate = gate.clone();
        move |_, start_response| {
            start_response.start("200 OK", &[])?;
            let gate = gate.clone();
            Ok(Body::iter((0..3).map(move |number| {
                if number > 0 {
                    gate.pass();
                }
                format!("block {number}").into_bytes()
            })))
        }
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send(GET);
        for number in 0..3 {
            client.until(&format!("block {number}\r\n"));
            gate.open();
        }
        client.until("0\r\n\r\n");
        gate.pass();
    });
}

#[test]
fn the_head_waits_for_the_first_block_that_is_not_empty() {
    let gate = Gate::default();
    let app = app({
        let gate = gate.clone();
        move |environ, start_response| {
            start_response.start("200 OK", &[])?;
            if environ.path() == &b"/hello"[..] {
                return Ok(Body::from("hello"));
            }
            let gate = gate.clone();
            let blocks = [Vec::new(), Vec::new(), b"block".to_vec(), b"last".to_vec()];
            Ok(Body::iter(blocks.into_iter().enumerate().map(move |(number, block)| {
                if number == 2 {
                    gate.pass();
                }
                block
            })))
        }
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        // The answer before it is not held back with it.
        client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
        assert!(client.is_silent_for(Duration::from_millis(50)));
        gate.open();
        assert_eq!(client.response().text(), "blocklast");
    });
}

#[test]
fn an_iterator_that_knows_its_only_block_gets_a_content_length() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        Ok(match environ.path().as_ref() {
            b"/one" => Body::iter([b"only".to_vec()]),
            b"/empty" => Body::iter([]),
            b"/empties" => Body::iter([Vec::new(), Vec::new()]),
            _ => Body::iter([b"one".to_vec(), b"two".to_vec()]),
        })
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for (path, length) in [("/one", Some("4")), ("/empty", Some("0")), ("/empties", Some("0")), ("/two", None)] {
            assert_eq!(client.get(path).field("Content-Length"), length, "{path}");
        }
    });
}

/// Counts how often it is dropped.
struct Counted {
    dropped: Arc<AtomicUsize>,
    left: usize,
    end: Result<(), &'static str>,
}

impl Iterator for Counted {
    type Item = Result<Vec<u8>, AppError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return match self.end {
                Ok(()) => None,
                Err("panic") => panic!("the iterator has had enough"),
                Err(error) => Some(Err(error.into())),
            };
        }
        self.left -= 1;
        Some(Ok(vec![b'x'; 20_000]))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_body_is_dropped_exactly_once_whatever_happens() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let app = app({
        let dropped = dropped.clone();
        move |environ, start_response| {
            let path = environ.text("PATH_INFO").into_owned();
            let counted = |left, end| Counted { dropped: dropped.clone(), left, end };
            match path.as_str() {
                "/unstarted" => return Ok(Body::try_iter(counted(1, Ok(())))),
                "/length" => start_response.start("200 OK", &[("Content-Length", "10")])?,
                "/204" => start_response.start("204 No Content", &[])?,
                _ => start_response.start("200 OK", &[])?,
            }
            Ok(Body::try_iter(match path.as_str() {
                "/error" => counted(1, Err("error")),
                "/early" => counted(0, Err("error")),
                "/panic" => counted(1, Err("panic")),
                "/endless" => counted(usize::MAX, Ok(())),
                _ => counted(2, Ok(())),
            }))
        }
    });
    everywhere(app, |server| {
        let cases = [
            "GET /",
            "HEAD /",
            "GET /204",
            "GET /length",
            "GET /error",
            "GET /early",
            "GET /panic",
            "GET /unstarted",
            "GET /endless",
        ];
        for case in cases {
            dropped.store(0, SeqCst);
            let mut client = server.connect();
            client.send(format!("{case} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            if case == "GET /endless" {
                client.exactly(100);
                drop(client);
            } else {
                client.rest();
            }
            eventually(case, || dropped.load(SeqCst) > 0);
            assert_eq!(server.get("/length").status, 200);
            eventually(case, || dropped.load(SeqCst) >= 2);
            assert_eq!(dropped.load(SeqCst), 2, "{case}: once for it, once for the request behind it");
        }
    });
}

#[test]
fn files_are_sent_from_their_position_and_in_part() {
    let dir = temp_dir("files");
    let content: Vec<u8> = (0..8_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
    std::fs::write(dir.join("file"), &content).unwrap();
    let path = dir.join("file");
    let app = app(move |environ, start_response| {
        let mut file = std::fs::File::open(&path)?;
        match environ.path().as_ref() {
            b"/length" => start_response.start("200 OK", &[("Content-Length", "10")])?,
            b"/toolong" => start_response.start("200 OK", &[("Content-Length", "9000000")])?,
            _ => start_response.start("200 OK", &[])?,
        }
        Ok(match environ.path().as_ref() {
            b"/from" => {
                file.seek(SeekFrom::Start(1_000_000))?;
                Body::file(file)
            }
            b"/range" => {
                file.seek(SeekFrom::Start(1_000_000))?;
                Body::file_range(file, 3_000_001)
            }
            b"/beyond" => {
                file.seek(SeekFrom::Start(9_000_000))?;
                Body::file(file)
            }
            b"/overrange" => {
                file.seek(SeekFrom::Start(7_999_990))?;
                Body::file_range(file, 1_000)
            }
            b"/written" => {
                start_response.write(b"before ")?;
                Body::file_range(file, 200_000)
            }
            _ => Body::file(file),
        })
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        let whole = client.get("/");
        assert_eq!(whole.field("Content-Length"), Some("8000000"));
        assert!(whole.body == content);
        assert!(client.get("/from").body == content[1_000_000..]);
        assert!(client.get("/range").body == content[1_000_000..4_000_001]);
        assert!(client.get("/beyond").body.is_empty());
        assert!(client.get("/overrange").body == content[7_999_990..]);
        assert!(client.get("/length").body == content[..10]);
        assert!(client.get("/written").body == [b"before ", &content[..200_000]].concat());
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("8000000"));
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert!(client.response().body == content);
        let short = server.connect().get("/toolong");
        assert_eq!((short.complete, short.body.len()), (false, content.len()));
    });
}

#[test]
fn a_file_that_can_t_be_read_is_a_500() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        let path = if environ.path() == &b"/null"[..] { "/dev/null" } else { "/" };
        Ok(Body::file(std::fs::File::open(path)?))
    });
    everywhere(app, |server| {
        assert_eq!(server.get("/directory").status, 500);
        let null = server.get("/null");
        assert_eq!((null.status, null.body.len()), (200, 0));
    });
}

#[test]
fn large_bodies_arrive_whole() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        Ok(match environ.path().as_ref() {
            b"/bytes" => Body::from(vec![b'x'; 10_000_000]),
            _ => Body::iter((0..200).map(|_| vec![b'x'; 50_000])),
        })
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for path in ["/bytes", "/blocks", "/bytes"] {
            let answer = client.get(path);
            assert!(answer.complete && answer.body.len() == 10_000_000, "{path}");
        }
    });
}

// Input

/// Reads the body and answers with what came, or with the error.
fn reader(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let mut body = Vec::new();
    environ.input().read_to_end(&mut body)?;
    start_response.start("200 OK", &[])?;
    Ok(Body::from(body))
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn continue_is_sent_on_the_first_read_and_once() {
    let gate = Gate::default();
    let app = app({
        let gate = gate.clone();
        move |environ, start_response| {
            gate.pass();
            reader(environ, start_response)
        }
    });
    everywhere(app, |server| {
        for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
            let mut client = server.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"));
            assert!(client.is_silent_for(Duration::from_millis(30)), "nobody has read yet");
            gate.open();
            assert_eq!(client.exactly(CONTINUE.len()), CONTINUE);
            for piece in
                if framing.contains("chunked") { ["2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\n"] } else { ["bo", "dy"] }
            {
                assert!(client.is_silent_for(Duration::from_millis(10)));
                client.send(piece);
            }
            let answer = client.response();
            assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
            gate.open();
            assert_eq!(client.get("/").status, 200);
        }
    });
}

#[test]
fn without_a_read_there_is_no_continue_and_the_connection_closes() {
    let app = app(|_, start_response| {
        start_response.start("403 Forbidden", &[])?;
        Ok(Body::from("no"))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        let answer = client.response();
        assert_eq!((answer.status, answer.field("Connection")), (403, Some("close")));
        assert!(client.at_end());
    });
}

#[test]
fn continue_never_comes_after_the_answer_has_begun() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        start_response.write(b"begun")?;
        let mut body = Vec::new();
        environ.input().read_to_end(&mut body)?;
        Ok(Body::from(body))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        let mut all = client.until("begun\r\n");
        client.send("body");
        all.extend(client.until("0\r\n\r\n"));
        assert!(find(&all, b"100 Continue").is_none(), "{}", all.escape_ascii());
        assert!(all.ends_with(b"5\r\nbegun\r\n4\r\nbody\r\n0\r\n\r\n"), "{}", all.escape_ascii());
    });
}

#[test]
fn continue_comes_behind_earlier_answers_and_before_a_head_that_is_set() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        let mut body = Vec::new();
        environ.input().read_to_end(&mut body)?;
        Ok(Body::from(body))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n");
        client.send("Content-Length: 4\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 100);
        client.send("body");
        assert_eq!(client.response().text(), "body");
    });
}

#[test]
fn http_1_0_gets_no_continue() {
    everywhere(reader, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert!(client.is_silent_for(Duration::from_millis(20)));
        client.send("body");
        assert_eq!(client.response().text(), "body");
    });
}

#[test]
fn the_input_ends_where_the_body_ends() {
    let app = app(|environ, start_response| {
        let input = environ.input();
        assert_eq!(input.length(), Some(10));
        let mut line = String::new();
        input.read_line(&mut line)?;
        assert_eq!(line, "one\n");
        let mut rest = [0; 20];
        let mut count = 0;
        while count < 6 {
            count += input.read(&mut rest[count..])?;
        }
        assert_eq!(&rest[..count], b"two...");
        assert_eq!(input.read(&mut rest)?, 0);
        assert_eq!(input.read(&mut rest)?, 0);
        assert!(input.fill_buf()?.is_empty());
        start_response.start("200 OK", &[])?;
        Ok(Body::from("fine"))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\none\ntwo...");
            assert_eq!(client.response().text(), "fine");
        }
    });
}

#[test]
fn uploads_of_megabytes_arrive_whole() {
    let app = app(|environ, start_response| {
        let (mut count, mut sum) = (0u64, 0u64);
        let mut piece = [0; 10_000];
        loop {
            let read = environ.input().read(&mut piece)?;
            if read == 0 {
                break;
            }
            count += read as u64;
            sum += piece[..read].iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from(format!("{count} {sum}")))
    });
    everywhere(app, |server| {
        let content: Vec<u8> = (0..3_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
        let sum: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
        client.send(&content);
        assert_eq!(client.response().text(), format!("3000000 {sum}"));
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut size = 1;
        let mut rest = &content[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send(chunk);
            client.send("\r\n");
            (rest, size) = (after, size * 3 % 70_001);
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().text(), format!("3000000 {sum}"));
    });
}

#[test]
fn half_read_bodies_are_drained_and_the_connection_reused() {
    let app = app(|environ, start_response| {
        let mut some = [0; 3];
        if environ.path() == &b"/some"[..] {
            environ.input().read_exact(&mut some)?;
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from("answer"))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for path in ["/none", "/some"] {
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nabcdef"));
            assert_eq!(client.response().text(), "answer", "before the body is there");
            client.send(vec![b'x'; 199_994]);
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"));
            assert_eq!(client.response().text(), "answer");
            client.send("1\r\na\r\n0\r\n\r\n");
        }
        assert_eq!(client.get("/none").text(), "answer");
    });
}

#[test]
fn a_large_unread_body_costs_the_connection_but_the_answer_is_seen() {
    let app = app(|_, start_response| {
        start_response.start("413 Content Too Large", &[])?;
        Ok(Body::from("too much"))
    });
    everywhere(app, |server| {
        for framing in ["Content-Length: 20000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1312D00\r\n"] {
            let mut client = server.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}"));
            let mut sender = client.stream.try_clone().unwrap();
            let thread = std::thread::spawn(move || {
                let piece = vec![b'x'; 100_000];
                for _ in 0..200 {
                    if sender.write_all(&piece).is_err() {
                        return;
                    }
                }
                let _ = sender.shutdown(std::net::Shutdown::Write);
            });
            let answer = client.response();
            assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
            assert!(client.at_end());
            thread.join().unwrap();
            assert!(!client.reset);
        }
    });
}

#[test]
fn a_broken_body_fails_with_its_reason_and_status() {
    let (report, reports) = mpsc::channel();
    let report = Mutex::new(report);
    let app = app(move |environ, start_response| {
        let mut body = Vec::new();
        if let Err(error) = environ.input().read_to_end(&mut body) {
            let input = error.get_ref().and_then(|inner| inner.downcast_ref::<InputError>()).copied();
            // Once broken, always broken.
            assert!(environ.input().read(&mut [0]).is_err());
            report.lock().unwrap().send(input).unwrap();
            return Err(error.into());
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from(body))
    });
    let change = |settings: &mut amboss_core::Settings| {
        settings.limits.body = Some(100);
        settings.timeouts.stalled = Duration::from_millis(150);
    };
    everywhere_with(change, app, |server| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        for (name, rest, ends, status) in [
            ("truncated", "Content-Length: 10\r\n\r\nabc", true, 400),
            ("truncated chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", true, 400),
            ("truncated before the last chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, 400),
            ("malformed", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", false, 400),
            ("too large", &format!("Transfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n", "x".repeat(101)), false, 413),
            ("too slow", "Transfer-Encoding: chunked\r\n\r\na\r\nabc", false, 408),
        ] {
            let mut client = server.connect();
            client.send(format!("{head}{rest}"));
            if ends {
                client.finish_sending();
            }
            let answer = client.response();
            assert_eq!((answer.status, answer.field("Connection")), (status, Some("close")), "{name}");
            client.finish_sending();
            assert!(client.at_end(), "{name}");
            let error = reports.recv_timeout(DEADLINE).unwrap();
            let right = match name {
                "malformed" => matches!(error, Some(InputError::Malformed(_))),
                "too large" => matches!(error, Some(InputError::TooLarge(100))),
                "too slow" => matches!(error, Some(InputError::TooSlow)),
                _ => matches!(error, Some(InputError::Truncated)),
            };
            assert!(right, "{name}: {error:?}");
        }
    });
}

#[test]
fn an_application_may_answer_a_broken_body_itself() {
    let app = app(|environ, start_response| {
        let broken = environ.input().read_to_end(&mut Vec::new()).is_err();
        start_response.start("200 OK", &[])?;
        Ok(Body::from(format!("broken: {broken}")))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response();
        assert_eq!((answer.text().as_str(), answer.field("Connection")), ("broken: true", Some("close")));
        client.finish_sending();
        assert!(client.at_end(), "nothing behind a broken body is taken for a request");
    });
}

// Panics

/// Panics when it is dropped.
struct Bomb(Option<Vec<u8>>);

impl Iterator for Bomb {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> {
        self.0.take()
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("panic on closing");
        }
    }
}

/// An error that panics when anybody wants to know what it is.
struct Unspeakable;

impl std::fmt::Debug for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("panic on display")
    }
}

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("panic on display")
    }
}

impl std::error::Error for Unspeakable {}

fn panicky(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if path == "/call" {
        panic!("panic in the call");
    }
    start_response.start("200 OK", &[])?;
    match path.as_str() {
        "/started" => panic!("panic after start"),
        "/written" => {
            start_response.write(b"begun")?;
            panic!("panic after write")
        }
        "/first" => Ok(Body::iter((0..1).map(|_| -> Vec<u8> { panic!("panic in the first block") }))),
        "/second" => Ok(Body::iter((0..2).map(|number| {
            if number == 1 {
                panic!("panic in the second block")
            }
            b"begun".to_vec()
        }))),
        "/drop" => Ok(Body::iter(Bomb(Some(b"whole".to_vec())))),
        "/extension" => {
            environ.extensions_mut().insert(Bomb(None));
            Ok(Body::from("whole"))
        }
        "/display" => Err(Unspeakable.into()),
        "/payload" => std::panic::panic_any(17),
        _ => Ok(Body::from("hello")),
    }
}

/// Path, status, complete, what the log says.
const PANICS: &[(&str, u16, bool, &str)] = &[
    ("/call", 500, true, "panic in the call"),
    ("/started", 500, true, "panic after start"),
    ("/written", 200, false, "panic after write"),
    ("/first", 500, true, "panic in the first block"),
    ("/second", 200, false, "panic in the second block"),
    ("/drop", 200, true, "panic on closing"),
    ("/extension", 200, true, "panic on closing"),
    ("/display", 500, true, "panic on display"),
    ("/payload", 500, true, "contract.rs"),
];

#[test]
fn the_server_survives_panics_everywhere_and_logs_a_backtrace() {
    for &(path, status, complete, logged) in PANICS {
        everywhere(panicky, |server| {
            let answer = server.get(path);
            assert_eq!((answer.status, answer.complete), (status, complete), "{path}: {answer:?}");
            server.log.wait_for(logged);
            // A frame of this very file.
            server.log.wait_for("contract::");
            assert_eq!(server.get("/").text(), "hello", "after {path}");
        });
    }
}

#[test]
fn a_panic_in_the_request_handler_is_a_500() {
    struct Panicking;
    impl RequestHandler for Panicking {
        fn make_environ(&self, environ: &mut Environ<'_>) {
            assert!(environ.path() != &b"/panic"[..], "panic in make_environ");
        }
    }
    everywhere_with(
        |settings| settings.handler = Arc::new(Panicking),
        fixture,
        |server| {
            assert_eq!(server.get("/panic").status, 500);
            server.log.wait_for("panic in make_environ");
            assert_eq!(server.get("/").status, 200);
        },
    );
}

#[test]
fn a_panic_in_a_hook_changes_no_answer() {
    struct Panicking;
    impl RequestHandler for Panicking {
        fn log_request(&self, _: &amboss_core::AccessRecord<'_>, _: &dyn amboss_core::Log) {
            panic!("panic in log_request");
        }
        fn handle_error(&self, _: &AppError, _: &[u8], _: &dyn amboss_core::Log) {
            panic!("panic in handle_error");
        }
        fn connection_dropped(&self, _: amboss_core::CloseReason, _: amboss_core::Peer, _: &dyn amboss_core::Log) {
            panic!("panic in connection_dropped");
        }
    }
    everywhere_with(
        |settings| settings.handler = Arc::new(Panicking),
        panicky,
        |server| {
            let mut client = server.connect();
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(client.get("/call").status, 500);
            client.send("rubbish\r\n\r\n");
            assert_eq!(client.response().status, 400);
            client.finish_sending();
            assert!(client.at_end());
            for place in ["log_request", "handle_error", "connection_dropped"] {
                server.log.wait_for(&format!("panic in {place}"));
            }
            assert_eq!(server.get("/").text(), "hello");
        },
    );
}

#[test]
fn a_panic_after_an_upgrade_costs_its_connection_only() {
    let app = app(|environ, start_response| {
        if environ.path() == &b"/"[..] {
            return fixture(environ, start_response);
        }
        amboss_core::on_upgrade(environ, |_| panic!("panic in the new protocol"));
        start_response.start("101 Switching Protocols", &[("Upgrade", "x"), ("Connection", "Upgrade")])?;
        Ok(Body::empty())
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        assert_eq!(client.response().status, 101);
        assert!(client.at_end());
        server.log.wait_for("panic in the new protocol");
        assert_eq!(server.get("/").text(), "hello");
    });
}

#[test]
fn errors_and_panics_can_be_passed_through() {
    for setup in [Setup::base, Setup::threaded] {
        let passing = || setup().with(|settings| settings.passthrough_errors = true);
        let server = passing().start(app(|_, _| Err("the reason".into())));
        let mut client = server.connect();
        client.send(GET);
        client.rest();
        let error = server.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");

        for path in ["/call", "/first"] {
            let server = passing().start(panicky);
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.rest();
            let panic = server.join().unwrap_err();
            assert!(panic.downcast_ref::<&str>().unwrap().contains("panic in"));
        }
    }
}

// Environ

#[test]
fn middleware_may_change_the_environ() {
    struct User(&'static str);
    let app = app(|environ, start_response| {
        environ.set("SCRIPT_NAME", "/mounted");
        environ.set("myproject.stage", "development");
        environ.set("HTTP_X_A", "changed");
        environ.set("HTTP_X_A", "changed again");
        environ.remove("HTTP_X_B");
        environ.extensions_mut().insert(User("ada"));
        environ.extensions_mut().insert(User("grace"));
        assert_eq!(environ.text("SCRIPT_NAME"), "/mounted");
        assert_eq!(environ.text("HTTP_X_A"), "changed again");
        assert_eq!(environ.get("HTTP_X_B"), None);
        assert_eq!(environ.get("HTTP_HOST").as_deref(), Some(&b"a"[..]));
        for absent in ["HTTP_X-A", "http_host", "HTTP_CONTENT_LENGTH", "HTTP_", "nothing", ""] {
            assert_eq!(environ.get(absent), None, "{absent}");
        }
        let mut keys: Vec<String> = environ.iter().map(|(key, _)| key.into_owned()).collect();
        let count = keys.len();
        assert!(keys.iter().any(|key| key == "myproject.stage"));
        assert!(!keys.iter().any(|key| key == "HTTP_X_B"));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "each key once");
        assert_eq!(environ.extensions_mut().remove::<User>().map(|user| user.0), Some("grace"));
        assert!(environ.extensions().get::<User>().is_none());
        start_response.start("200 OK", &[])?;
        Ok(Body::from("fine"))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nX-B: c\r\n\r\n");
        assert_eq!(client.response().text(), "fine");
        assert_eq!(client.get("/").text(), "fine", "nothing of it is left for the next request");
    });
}

#[test]
fn middleware_can_stand_in_between() {
    struct Branding<'a>(&'a mut dyn StartResponse);
    impl StartResponse for Branding<'_> {
        fn begin(
            &mut self,
            status: &str,
            fields: &[(&str, &[u8])],
            error: Option<&AppError>,
        ) -> Result<(), StartError> {
            self.0.begin(status, &[fields, &[("X-Anvil", b"yes")]].concat(), error)
        }
        fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
            self.0.write(&data.to_ascii_uppercase())
        }
    }
    struct Branded<A>(A);
    impl<A: Application> Application for Branded<A> {
        fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
            self.0.call(environ, &mut Branding(start_response))
        }
    }
    let inner = app(|_, start_response| {
        start_response.start("200 OK", &[("X-Inner", "1")])?;
        start_response.write(b"written")?;
        Ok(Body::empty())
    });
    everywhere(Branded(inner), |server| {
        let answer = server.get("/");
        assert_eq!((answer.field("X-Anvil"), answer.field("X-Inner")), (Some("yes"), Some("1")));
        assert_eq!(answer.text(), "WRITTEN");
    });
}

#[test]
fn the_request_handler_sees_each_request() {
    #[derive(Default)]
    struct Watching {
        logged: AtomicUsize,
    }
    impl RequestHandler for Watching {
        fn make_environ(&self, environ: &mut Environ<'_>) {
            environ.set("PATH_INFO", "/environ");
            environ.set("x.handler", "was here");
        }
        fn log_request(&self, record: &amboss_core::AccessRecord<'_>, _: &dyn amboss_core::Log) {
            assert_eq!((record.status, record.target), (200, &b"/original"[..]));
            self.logged.fetch_add(1, SeqCst);
        }
        fn server_version(&self) -> Option<&str> {
            Some("Mine/1")
        }
    }
    let watching = Arc::new(Watching::default());
    everywhere_with(
        |settings| settings.handler = watching.clone(),
        fixture,
        |server| {
            let answer = server.get("/original");
            assert!(answer.text().contains("x.handler=was here\n"), "{}", answer.text());
            assert!(answer.text().contains("SERVER_SOFTWARE=Mine/1\n"));
            assert_eq!(answer.fields("Server"), ["Mine/1"]);
        },
    );
    assert_eq!(watching.logged.load(SeqCst), 4);
}

#[test]
fn the_application_can_stop_the_server_and_its_answer_is_seen() {
    for setup in [Setup::base, Setup::threaded] {
        let server = setup().start(app(|environ, start_response| {
            environ.shutdown_server();
            start_response.start("200 OK", &[])?;
            Ok(Body::from("good bye"))
        }));
        let mut client = server.connect();
        assert_eq!(client.get("/").text(), "good bye");
        assert!(client.at_end());
        server.join().unwrap().unwrap();
    }
}
