//! Slow, broken and hostile clients.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use amboss_core::{AppError, Body, Environ, StartResponse};

/// `/endless` streams for as long as somebody reads, `/sleep/N` takes N ms, `/large` is 20 MB, the rest as `fixture`.
pub fn robust_app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if let Some(time) = path.strip_prefix("/sleep/") {
        thread::sleep(MS * time.parse()?);
    }
    match path.as_str() {
        "/endless" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter(std::iter::repeat_with(|| vec![b'x'; 1000])))
        }
        "/large" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::from(vec![b'x'; 20_000_000]))
        }
        "/slowstream" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter((0..10).map(|number| {
                thread::sleep(20 * MS);
                format!("{number}").into_bytes()
            })))
        }
        _ => fixture(environ, start_response),
    }
}

/// Requests succeed, and quickly.
#[track_caller]
pub fn stays_responsive(server: &Running, times: usize) {
    for _ in 0..times {
        let began = Instant::now();
        assert_eq!(server.get("/").text(), "hello");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

// Slow clients

#[test]
fn half_a_head_is_answered_with_408_after_its_time() {
    everywhere_with(
        |settings| settings.timeouts.head = 100 * MS,
        fixture,
        |server| {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nHo");
            let answer = client.response();
            assert_eq!((answer.status, answer.field("Connection")), (408, Some("close")));
            client.finish_sending();
            assert!(client.at_end());
            // Drops of it don't buy more time.
            let mut client = server.connect();
            let began = Instant::now();
            while began.elapsed() < DEADLINE && client.is_silent_for(5 * MS) {
                client.send("x");
            }
            assert_eq!(client.response().status, 408);
            assert!(began.elapsed() < Duration::from_secs(3));
        },
    );
}

#[test]
fn a_small_body_that_comes_slowly_holds_no_thread_and_nobody_up() {
    for setup in [Setup::base(), Setup::threaded().with(|settings| settings.threads = 1)] {
        let server = setup.start(robust_app);
        let mut slow: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for client in &mut slow {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
        }
        stays_responsive(&server, 10);
        for client in &mut slow {
            client.send_bytewise(b"cd");
        }
        stays_responsive(&server, 10);
        for client in &mut slow {
            client.send("efGET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.response().text(), "abcdef");
            assert_eq!(client.response().text(), "hello", "what follows the body is the next request");
        }
    }
}

#[test]
fn a_small_body_that_stalls_is_answered_with_408_and_one_that_ends_early_reaches_the_application() {
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab";
    everywhere_with(
        |settings| settings.timeouts.stalled = 150 * MS,
        robust_app,
        |server| {
            let mut stalled = server.connect();
            stalled.send(request);
            let answer = stalled.response();
            assert_eq!((answer.status, answer.field("Connection")), (408, Some("close")));
            server.log.wait_for("the body of a request came too slowly");
        },
    );
    everywhere(robust_app, |server| {
        let mut ended = server.connect();
        ended.send(request);
        ended.finish_sending();
        assert_eq!(ended.response().status, 400);
        server.log.wait_for("error on \"POST /echo HTTP/1.1\"");
    });
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    everywhere_with(
        |settings| settings.timeouts.idle = 500 * MS,
        fixture,
        |server| {
            assert!(server.connect().at_end(), "before the first request");
            let mut client = server.connect();
            client.get("/");
            assert!(client.at_end(), "between requests");
            assert!(!client.reset);
            assert_eq!(server.log.errors(), "");
        },
    );
}

#[test]
fn what_came_while_the_loop_was_away_came_in_time() {
    // One thread, or one that keeps the lead: nobody looks at the others while the application takes its time.
    let keeps_the_lead = |settings: &mut amboss_core::Settings| {
        settings.loops = 1;
        settings.may_hand_over = Some(Arc::new(|_| false));
    };
    for setup in [Setup::base(), Setup::threaded().with(keeps_the_lead)] {
        let entered = Arc::new(AtomicBool::new(false));
        let seen = entered.clone();
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            seen.fetch_or(environ.path().starts_with(b"/sleep"), SeqCst);
            robust_app(environ, start_response)
        };
        let setup = setup.with(|settings| {
            (settings.timeouts.idle, settings.timeouts.head, settings.timeouts.stalled) =
                (800 * MS, 800 * MS, 800 * MS);
        });
        let server = setup.start(app);
        let [mut busy, idle, kept, head, body] = [(); 5].map(|()| server.connect());
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut others = [
            (idle, "", get),
            (kept, get, get),
            (head, "GET / HTTP/1.1\r\nHo", "st: a\r\n\r\n"),
            (body, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo", "dy"),
        ];
        for (client, first, _) in &mut others {
            client.send(*first);
        }
        assert_eq!(others[1].0.response().text(), "hello");
        busy.send("GET /sleep/1700 HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it runs", || entered.load(SeqCst));
        for (client, _, rest) in &mut others {
            client.send(*rest);
        }
        assert_eq!(busy.response().text(), "hello");
        // Whoever waited has all the time again.
        let answered = Instant::now();
        for (client, first, _) in &mut others {
            assert_eq!(client.response().text(), "hello", "after {first:?}");
        }
        assert!(busy.is_silent_for(100 * MS));
        assert_eq!(busy.get("/").text(), "hello");
        for (client, first, _) in &mut others {
            assert!(client.at_end(), "after {first:?}");
            assert!(answered.elapsed() > 600 * MS, "{:?} after {first:?}", answered.elapsed());
        }
    }
}

#[test]
fn a_reader_that_stops_reading_is_cut_after_its_time() {
    everywhere_with(
        |settings| settings.timeouts.stalled = 200 * MS,
        robust_app,
        |server| {
            for path in ["/large", "/endless"] {
                let errors = server.log.errors.lock().unwrap().len();
                let mut client = server.connect();
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                client.exactly(100);
                stays_responsive(server, 3);
                let logged = || server.log.access.lock().unwrap().iter().any(|(line, ..)| line.contains(path));
                eventually("the reader is cut", || logged() || server.log.errors.lock().unwrap().len() > errors);
            }
        },
    );
}

#[test]
fn a_body_below_the_minimum_rate_is_cut() {
    let change = |settings: &mut amboss_core::Settings| {
        settings.timeouts.grace = 200 * MS;
        settings.timeouts.minimum_rate = 1000;
    };
    everywhere_with(change, fixture, |server| {
        let mut client = server.connect();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        let began = Instant::now();
        while began.elapsed() < DEADLINE && client.is_silent_for(10 * MS) {
            client.send("x");
        }
        assert_eq!(client.response().status, 408);
    });
}

#[test]
fn two_hundred_half_sent_heads_delay_nobody() {
    let _turn = HUNDREDS.lock();
    everywhere(fixture, |server| {
        let mut half: Vec<Client> = (0..200).map(|_| server.connect()).collect();
        for client in &mut half {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Le");
        }
        stays_responsive(server, 20);
        for client in &mut half {
            client.send("ngth: 4\r\n\r\nbody");
        }
        for client in &mut half {
            assert_eq!(client.response().text(), "body");
        }
    });
}

#[test]
fn a_client_that_takes_an_endless_answer_as_fast_as_it_comes_starves_nobody() {
    everywhere(robust_app, |server| {
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut client = server.connect();
                let stop = stop.clone();
                thread::spawn(move || {
                    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
                    let mut piece = vec![0; 1 << 20];
                    while !stop.load(SeqCst) && client.stream.read(&mut piece).is_ok_and(|count| count > 0) {}
                })
            })
            .collect();
        stays_responsive(server, 10);
        stop.store(true, SeqCst);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn a_client_that_sends_requests_or_rubbish_without_end_starves_nobody() {
    everywhere(fixture, |server| {
        for flood in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "rubbish\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n",
        ] {
            let stop = Arc::new(AtomicBool::new(false));
            let client = server.connect();
            let (mut sender, mut receiver) = (client.stream.try_clone().unwrap(), client.stream);
            let stopped = stop.clone();
            let sending = thread::spawn(move || {
                let piece = flood.repeat(2000);
                while !stopped.load(SeqCst) && sender.write_all(piece.as_bytes()).is_ok() {}
                let _ = sender.shutdown(std::net::Shutdown::Both);
            });
            let receiving = thread::spawn(move || {
                let mut piece = vec![0; 1 << 20];
                while receiver.read(&mut piece).is_ok_and(|count| count > 0) {}
            });
            stays_responsive(server, 10);
            stop.store(true, SeqCst);
            sending.join().unwrap();
            receiving.join().unwrap();
        }
    });
}

// Broken clients

#[test]
fn resets_at_every_stage_hurt_nobody() {
    everywhere(robust_app, |server| {
        for (sent, read) in [
            ("", 0),
            ("GET / HT", 0),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 20),
            ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 100),
            ("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n", 100),
            ("GET /slowstream HTTP/1.1\r\nHost: a\r\n\r\n", 100),
            ("GET /sleep/10 HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 0),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc", 20),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", 25),
            ("rubbish\r\n\r\n", 0),
            ("rubbish\r\n\r\n", 20),
        ] {
            for _ in 0..3 {
                let mut client = server.connect();
                client.send(sent);
                if read > 0 {
                    let mut piece = vec![0; read];
                    client.stream.read_exact(&mut piece).unwrap();
                    // What is unread when a socket closes makes it a reset.
                    client.is_silent_for(5 * MS);
                }
            }
            assert_eq!(server.get("/").text(), "hello", "after {sent:?}");
        }
        assert!(!server.log.errors().contains("panic"), "{}", server.log.errors());
    });
}

#[test]
fn a_client_that_closes_its_sending_side_still_gets_its_answer() {
    everywhere(robust_app, |server| {
        for path in ["/", "/sleep/20", "/slowstream", "/large"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.finish_sending();
            let answer = client.response();
            assert!(answer.status == 200 && answer.complete, "{path}");
        }
    });
}
