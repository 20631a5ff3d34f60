//! Sockets that systemd passes to `amboss`.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amboss_testkit::{skip, wait_until, Client};

use crate::{amboss, connect, get, Amboss};

/// A shell script that passes its standard input, a listening socket, as systemd does: as descriptor 3, with the
/// environment of `sd_listen_fds(3)`. It replaces itself with the command, so that the process id stays the same.
const PASS_SOCKET: &str = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";

/// Starts the command with a socket from systemd.
fn activated(arguments: &[&str]) -> Amboss {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let direct = amboss(arguments);
    let mut command = Command::new("sh");
    command.arg("-c").arg(PASS_SOCKET).arg(direct.get_program()).args(direct.get_args());
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).stderr(Stdio::piped());
    Amboss::spawn(&mut command)
}

#[test]
fn a_socket_from_systemd_is_served() {
    let server = activated(&[]);
    assert!(get(server.port(), "").contains("Content-Type: text/html"));
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(0));
}

/// If a descriptor had two owners, one could close it while the other uses it.
#[test]
fn a_descriptor_cannot_be_named_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = Command::new("sh");
    let direct = amboss(&["--bind", "fd://3", "--bind", "fd://3"]);
    command.arg("-c").arg(PASS_SOCKET).arg(direct.get_program()).args(direct.get_args());
    let output = command.stdin(OwnedFd::from(listener)).output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("can't listen on fd://3: it is in use already; name each descriptor once"), "{text}");
}

#[test]
fn a_socket_can_be_named_by_its_descriptor() {
    let server = activated(&["--bind", "fd://3"]);
    assert!(get(server.port(), "").contains("Content-Type: text/html"));
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn the_limit_of_processes_holds_on_a_socket_from_systemd() {
    const AT_ONCE: usize = 2;
    let server = activated(&["--processes", &AT_ONCE.to_string(), "--body-mode", "stream"]);
    // `child_processes` searches all of /proc, which takes so long that it may count both a child and its successor.
    let children = format!("/proc/{0}/task/{0}/children", server.child.id());
    let count = || std::fs::read_to_string(&children).unwrap_or_default().split_whitespace().count();
    if !std::path::Path::new(&children).exists() {
        return skip("the system does not list the children of a process");
    }
    // A request with an incomplete body occupies its process.
    let mut clients: Vec<Client> = (0..5).map(|_| begin(server.port())).collect();
    let mut most = 0;
    wait_until("as many children run as are allowed", || {
        most = most.max(count());
        most >= AT_ONCE
    });
    // Enough time for more children, if more were allowed.
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        most = most.max(count());
    }
    for client in &mut clients {
        client.send("0\r\n\r\n");
    }
    for client in &mut clients {
        let json = client.try_response().expect("a whole response arrives").text();
        assert!(client.at_end());
        assert!(json.contains("\"wsgi.multiprocess\": \"true\""), "{json}");
        most = most.max(count());
    }
    assert_eq!(most, AT_ONCE, "children at once");
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(0));
}

/// Sends a request without the end of its body.
fn begin(port: u16) -> Client {
    let mut client = connect(port);
    let fields = "Host: x\r\nAccept: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
    client.send(format!("POST / HTTP/1.1\r\n{fields}\r\n"));
    client
}
