//! Upgrades and hijacked sockets: connections on which the application itself reads and writes.

use std::io::{Read, Write};
use std::thread;

use crate::support::*;
#[cfg(unix)]
use amboss_core::hijack;
use amboss_core::{on_upgrade, AppError, Body, Environ, StartResponse};

fn upgrading(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if environ.get("HTTP_UPGRADE").is_none() {
        return test_app(environ, start_response);
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
fn an_upgraded_connection_starts_with_the_bytes_sent_ahead() {
    for_each_server(upgrading, |server| {
        for path in ["/", "/socket"] {
            let mut client = server.connect();
            // An ordinary request before the upgrade, and the first bytes of the new protocol right behind it.
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nahead "));
            assert_eq!(client.response().text(), "hello");
            let response = client.response();
            assert_eq!((response.status, response.field("Upgrade")), (101, Some("echo")));
            assert_eq!((response.fields("Connection"), response.field("Content-Length")), (vec!["Upgrade"], None));
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
fn an_upgrade_leaves_no_state_for_other_connections() {
    for_each_server(upgrading, |server| {
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
fn upgraded_connections_do_not_delay_others() {
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

// Responses that the application writes to the socket itself

/// Responds to `/hijack/...` on the socket, and then does what the path says.
#[cfg(unix)]
fn hijacking(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    let Some(then) = path.strip_prefix("/hijack/") else { return test_app(environ, start_response) };
    let mut socket = std::fs::File::from(environ.client().socket()?.unwrap());
    start_response.flush()?;
    hijack(environ, 299);
    if then == "set before" {
        start_response.start("404 Not Found", &[])?;
    }
    socket.write_all(b"HTTP/1.1 299 By Hand\r\nContent-Length: 4\r\n\r\nmine")?;
    match then {
        "nothing" | "set before" => {}
        "response" => {
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
fn a_hijacked_response_is_the_only_and_the_last_one() {
    for_each_server(hijacking, |server| {
        for then in ["nothing", "response", "blocks", "error", "panic", "set%20before"] {
            let mut client = server.connect();
            // Requests before the hijacked one are answered first; one behind it is not answered.
            let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.send(get("/") + &get("/") + &get(&format!("/hijack/{then}")) + &get("/"));
            assert_eq!((client.response().text(), client.response().text()), ("hello".into(), "hello".into()));
            let response = client.response();
            assert_eq!((response.status, response.text()), (299, "mine".into()), "{then}");
            client.finish_sending();
            assert!(client.at_end() && !client.was_reset(), "{then}");
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
fn an_error_after_a_hijacked_response_is_passed_through() {
    for concurrency in [amboss_core::Concurrency::Single, amboss_core::Concurrency::Threads] {
        let server = Setup::new(concurrency).with(|settings| settings.passthrough_errors = true).start(hijacking);
        let mut client = server.connect();
        client.send("GET /hijack/error HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "mine");
        assert!(server.join().unwrap().unwrap_err().to_string().contains("what went wrong"));
    }
}
