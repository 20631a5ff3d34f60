//! Response bodies: each block is sent at once, the length is enforced, and the body is dropped exactly once.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use super::{app, GET};
use crate::support::*;
use amboss_core::{AppError, Body};

#[test]
fn each_block_is_sent_before_the_next_is_requested() {
    let gate = Semaphore::default();
    let app = app({
        let gate = gate.clone();
        move |_, start_response| {
            start_response.start("200 OK", &[])?;
            let gate = gate.clone();
            Ok(Body::iter((0..3).map(move |number| {
                if number > 0 {
                    gate.acquire();
                }
                format!("block {number}").into_bytes()
            })))
        }
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        client.send(GET);
        for number in 0..3 {
            client.until(&format!("block {number}\r\n"));
            gate.release();
        }
        client.until("0\r\n\r\n");
        gate.acquire();
    });
}

#[test]
fn the_head_is_sent_with_the_first_nonempty_block() {
    let gate = Semaphore::default();
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
                    gate.acquire();
                }
                block
            })))
        }
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        // The previous response is sent without waiting for it.
        client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
        assert!(client.is_silent_for(Duration::from_millis(50)));
        gate.release();
        assert_eq!(client.response().text(), "blocklast");
    });
}

#[test]
fn a_body_of_one_block_or_none_gets_a_content_length() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        Ok(match environ.path().as_ref() {
            b"/one" => Body::iter([b"only".to_vec()]),
            b"/empty" => Body::iter([]),
            b"/empties" => Body::iter([Vec::new(), Vec::new()]),
            _ => Body::iter([b"one".to_vec(), b"two".to_vec()]),
        })
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        for (path, length) in [("/one", Some("4")), ("/empty", Some("0")), ("/empties", Some("0")), ("/two", None)] {
            assert_eq!(client.get(path).field("Content-Length"), length, "{path}");
        }
    });
}

/// A body that counts how often it is dropped.
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
                Err("panic") => panic!("panic in the iterator"),
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
fn a_body_is_dropped_exactly_once_in_every_case() {
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
    for_each_server(app, |server| {
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
            wait_until(case, || dropped.load(SeqCst) > 0);
            assert_eq!(server.get("/length").status, 200);
            wait_until(case, || dropped.load(SeqCst) >= 2);
            assert_eq!(dropped.load(SeqCst), 2, "{case}: one drop for this body and one for the next");
        }
    });
}

#[test]
fn a_slow_drop_does_not_delay_the_end_of_the_response() {
    struct Slow(Semaphore, std::vec::IntoIter<Vec<u8>>);
    impl Iterator for Slow {
        type Item = Vec<u8>;
        fn next(&mut self) -> Option<Vec<u8>> {
            self.1.next()
        }
    }
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.acquire();
        }
    }
    let gate = Semaphore::default();
    let app = app({
        let gate = gate.clone();
        move |environ, start_response| {
            start_response.start("200 OK", &[])?;
            let blocks = if *environ.path() == b"/empty"[..] { vec![] } else { vec![b"one".to_vec(), b"two".to_vec()] };
            Ok(Body::iter(Slow(gate.clone(), blocks.into_iter())))
        }
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        for (path, text) in [("/", "onetwo"), ("/empty", ""), ("/", "onetwo")] {
            assert_eq!(client.get(path).text(), text);
            gate.release();
        }
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
    for_each_server(app, |server| {
        let mut client = server.connect();
        for path in ["/bytes", "/blocks", "/bytes"] {
            let response = client.get(path);
            assert!(response.complete && response.body.len() == 10_000_000, "{path}");
        }
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
    for_each_server(app, |server| {
        let mut client = server.connect();
        for path in ["/bytes", "/large", "/write", "/blocks", "/bytes"] {
            let response = client.get(path);
            assert_eq!((response.status, response.body.len()), (200, 3), "{path}");
        }
    });
}

#[test]
fn too_few_bytes_for_content_length_close_the_connection() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[("Content-Length", "100000")])?;
        match environ.path().as_ref() {
            b"/bytes" => Ok(Body::from("abc")),
            b"/large" => Ok(Body::from(vec![b'a'; 50_000])),
            b"/none" => Ok(Body::iter([])),
            _ => Ok(Body::iter(["ab", "cd"].map(|block| block.as_bytes().to_vec()))),
        }
    });
    for_each_server(app, |server| {
        for (path, there) in [("/bytes", 3), ("/large", 50_000), ("/blocks", 4), ("/none", 0)] {
            let mut client = server.connect();
            let response = client.get(path);
            assert_eq!((response.status, response.body.len(), response.complete), (200, there, false), "{path}");
        }
        server.log.wait_for("fewer bytes than it had declared");
        // The fields of a response to HEAD describe a body that is not sent.
        let mut client = server.connect();
        client.send("HEAD /bytes HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("100000"));
        client.send("HEAD /blocks HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("100000"));
    });
}

#[test]
fn work_after_the_only_block_delays_no_client() {
    let gate = Semaphore::default();
    let app = app({
        let gate = gate.clone();
        move |environ, start_response| {
            start_response.start("200 OK", &[("Content-Length", "5")])?;
            if environ.path() == &b"/fast"[..] {
                return Ok(Body::from("hello"));
            }
            let gate = gate.clone();
            // Respond as frameworks do: with one block, and with work to do after it has been sent.
            let mut block = Some(b"hello".to_vec());
            Ok(Body::iter(std::iter::from_fn(move || block.take())).on_close(move || gate.acquire()))
        }
    });
    let server = Setup::threaded().start(app);
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send(GET);
    assert_eq!(client.response().text(), "hello");
    assert_eq!(other.get("/fast").text(), "hello");
    gate.release();
    assert_eq!(client.get("/fast").text(), "hello");
}

#[test]
fn on_close_callbacks_run_once_for_every_kind_of_body() {
    let dir = TempDir::new("on_close");
    std::fs::write(dir.join("file"), "file").unwrap();
    let closed = Arc::new(AtomicUsize::new(0));
    let app = app({
        let (closed, path) = (closed.clone(), dir.join("file"));
        move |environ, start_response| {
            start_response.start("200 OK", &[])?;
            let body = match environ.path().as_ref() {
                b"/bytes" => Body::from("bytes"),
                b"/blocks" => Body::iter([b"blo".to_vec(), b"cks".to_vec()]),
                b"/followed" => Body::file(std::fs::File::open(&path)?).followed_by(b" and more".to_vec()),
                b"/unstarted" => return Err(AppError::from("failed")),
                _ => Body::file(std::fs::File::open(&path)?),
            };
            let (first, second) = (closed.clone(), closed.clone());
            let body = body.on_close(move || _ = first.fetch_add(1, SeqCst));
            Ok(body.on_close(move || _ = second.fetch_add(100, SeqCst)))
        }
    });
    let server = Setup::threaded().start(app);
    let mut client = server.connect();
    let mut expected = 0;
    for (path, text) in [("/bytes", "bytes"), ("/blocks", "blocks"), ("/followed", "file and more"), ("/file", "file")]
    {
        let response = client.get(path);
        assert_eq!(response.text(), text);
        assert_eq!(response.field("Content-Length").is_some(), path != "/blocks" && path != "/followed", "{path}");
        expected += 101;
        wait_until("both callbacks have run", || closed.load(SeqCst) == expected);
    }
    client.send("HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status, 200);
    wait_until("both callbacks have run for HEAD", || closed.load(SeqCst) == expected + 101);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_reports_length_zero_is_sent_to_its_end() {
    let dir = TempDir::new("zero_length");
    std::fs::write(dir.join("empty"), "").unwrap();
    let empty = dir.join("empty");
    let app = app(move |environ, start_response| {
        start_response.start("200 OK", &[])?;
        let path = environ.path().into_owned();
        let mut file =
            std::fs::File::open(if path.starts_with(b"/status") { "/proc/self/status".as_ref() } else { &*empty })?;
        if path == b"/status/rest" {
            std::io::Read::read_exact(&mut file, &mut [0; 6])?;
        }
        Ok(Body::file(file))
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        for (path, start) in [("/status", "Name:\t"), ("/status/rest", "")] {
            let text = client.get(path).text();
            assert!(text.starts_with(start) && text.contains("\nPid:\t") && text.ends_with('\n'), "{path}: {text}");
            assert_eq!(text.starts_with("Name:"), path == "/status");
        }
        let response = client.get("/empty");
        assert_eq!((response.text().as_str(), response.field("Content-Length")), ("", Some("0")));
    });
}
