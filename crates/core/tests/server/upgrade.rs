//! Upgrades: after a 101 the application has the connection.

use std::io::{Read, Write};
use std::thread;

use crate::support::*;
#[cfg(unix)]
use amboss_core::hijack;
use amboss_core::{on_upgrade, AppError, Body, Environ, StartResponse};

fn upgrading(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if environ.get("HTTP_UPGRADE").is_none() {
        return fixture(environ, start_response);
    }
    let socket = environ.path() == &b"/socket"[..];
    on_upgrade(environ, move |mut connection| {
        let mut piece = [0; 100];
        if socket {
            let (socket, ahead) = connection.into_socket().unwrap();
            (&socket).write_all(&ahead).unwrap();
            while let Ok(count @ 1..) = (&socket).read(&mut piece) {
                (&socket).write_all(&piece[..count]).unwrap();
            }
        } else {
            while let Ok(count @ 1..) = connection.read(&mut piece) {
                connection.write_all(&piece[..count]).unwrap();
            }
        }
    });
    start_response.start("101 Switching Protocols", &[("Upgrade", "echo"), ("Connection", "Upgrade")])?;
    Ok(Body::empty())
}

#[test]
fn an_upgraded_connection_gets_what_was_sent_ahead_and_goes_on() {
    everywhere(upgrading, |server| {
        for path in ["/", "/socket"] {
            let mut client = server.connect();
            // An ordinary request in front, and the first words of the new protocol behind.
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nahead "));
            assert_eq!(client.response().text(), "hello");
            let answer = client.response();
            assert_eq!((answer.status, answer.field("Upgrade")), (101, Some("echo")));
            assert_eq!((answer.fields("Connection"), answer.field("Content-Length")), (vec!["Upgrade"], None));
            assert_eq!(client.exactly(6), b"ahead ");
            for word in ["one", "two"] {
                thread::sleep(3 * MS);
                client.send(word);
                assert_eq!(client.exactly(3), word.as_bytes());
            }
            client.finish_sending();
            assert!(client.at_end());
        }
        assert_eq!(server.get("/").text(), "hello");
    });
}

#[test]
fn nothing_of_an_upgraded_request_is_left_for_other_connections() {
    everywhere(upgrading, |server| {
        for _ in 0..100 {
            let mut upgraded = server.connect();
            let mut plain = server.connect();
            upgraded.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(upgraded.response().status, 101);
            upgraded.finish_sending();
            assert_eq!(plain.response().text(), "hello");
            assert!(upgraded.at_end());
        }
    });
}

#[test]
fn an_upgraded_connection_keeps_no_thread_from_others() {
    let server = Setup::threaded().start(upgrading);
    let mut upgraded: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut upgraded {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.response().status, 101);
    }
    for client in &mut upgraded {
        client.send("echo");
        assert_eq!(client.exactly(4), b"echo");
        assert_eq!(server.get("/").text(), "hello");
    }
}

// Answers that the application writes to the socket itself

/// Answers `/hijack/...` on the socket, and then does what the path says besides.
#[cfg(unix)]
fn hijacking(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    let Some(then) = path.strip_prefix("/hijack/") else { return fixture(environ, start_response) };
    let mut socket = std::fs::File::from(environ.client().socket()?.unwrap());
    start_response.flush()?;
    hijack(environ, 299);
    if then == "set before" {
        start_response.start("404 Not Found", &[])?;
    }
    socket.write_all(b"HTTP/1.1 299 By Hand\r\nContent-Length: 4\r\n\r\nmine")?;
    match then {
        "nothing" | "set before" => {}
        "answer" => {
            start_response.start("200 OK", &[])?;
            return Ok(Body::from("the server's"));
        }
        "blocks" => {
            start_response.start("200 OK", &[])?;
            return Ok(Body::iter((0..3).map(|_| b"the server's".to_vec())));
        }
        "error" => return Err("what went wrong".into()),
        "panic" => panic!("what went wrong"),
        other => panic!("{other}"),
    }
    Ok(Body::empty())
}

#[cfg(unix)]
#[test]
fn what_the_application_has_answered_on_the_socket_is_the_only_answer_and_the_last() {
    everywhere(hijacking, |server| {
        for then in ["nothing", "answer", "blocks", "error", "panic", "set%20before"] {
            let mut client = server.connect();
            // Requests in front of it are answered first, one behind it is not answered.
            let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.send(get("/") + &get("/") + &get(&format!("/hijack/{then}")) + &get("/"));
            assert_eq!((client.response().text(), client.response().text()), ("hello".into(), "hello".into()));
            let answer = client.response();
            assert_eq!((answer.status, answer.text()), (299, "mine".into()), "{then}");
            client.finish_sending();
            assert!(client.at_end() && !client.reset, "{then}");
        }
        assert_eq!(server.get("/").text(), "hello");
        let access = server.log.access.lock().unwrap();
        let hijacked: Vec<u16> =
            access.iter().filter(|(line, ..)| line.contains("/hijack/")).map(|&(_, status, _)| status).collect();
        assert_eq!(hijacked, [299; 6]);
        drop(access);
        assert_eq!(server.log.errors().matches("what went wrong").count(), 2, "{}", server.log.errors());
    });
}

#[cfg(unix)]
#[test]
fn an_error_behind_an_answer_on_the_socket_is_passed_through() {
    for concurrency in [amboss_core::Concurrency::Single, amboss_core::Concurrency::Threads] {
        let server = Setup::new(concurrency).with(|settings| settings.passthrough_errors = true).start(hijacking);
        let mut client = server.connect();
        client.send("GET /hijack/error HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "mine");
        assert!(server.join().unwrap().unwrap_err().to_string().contains("what went wrong"));
    }
}
