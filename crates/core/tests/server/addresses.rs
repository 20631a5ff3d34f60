//! Addresses: Unix sockets, both families, several at once, inherited descriptors, and unusable ones.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::server_process::ServerProcess;
use crate::support::*;
use amboss_core::{make_server, Address, Concurrency, LocalAddr};

#[test]
fn a_unix_socket_is_served_and_its_file_removed() {
    let dir = TempDir::new("unix");
    let path = dir.join("app.sock");
    let address = format!("unix://{}", path.display());
    // A file that a killed server left behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    // A process that another test starts holds copies of all descriptors until it calls exec.
    wait_until("connections are refused", || UnixStream::connect(&path).is_err());
    let server = Setup::threaded().on(&[&address]).with(|settings| settings.unix_mode = Some(0o600)).start(test_app);
    assert_eq!(server.local[0].to_string(), address);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut client = Client::on(stream);
    let text = client.get("/environ").text();
    for line in ["REMOTE_ADDR=<local>\n", "REMOTE_PORT=0\n", &format!("SERVER_NAME={address}\n"), "SERVER_PORT=0\n"] {
        assert!(text.contains(line), "{line}{text}");
    }
    // A second server cannot use the socket of the first.
    let second = make_server(&[address.parse().unwrap()], test_app, Concurrency::Single, settings_without_log());
    let message = second.unwrap_err().to_string();
    assert!(message.contains("another program listens there") && message.contains("app.sock"), "{message}");
    assert_eq!(client.get("/").text(), "hello", "the first server still listens");
    server.stop();
    assert!(!path.exists());

    std::fs::write(&path, "precious").unwrap();
    let message = make_server(&[address.parse().unwrap()], test_app, Concurrency::Single, settings_without_log())
        .unwrap_err()
        .to_string();
    assert!(message.contains("is not a socket"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_socket_file_of_another_program_is_not_removed() {
    let dir = TempDir::new("foreign_socket");
    let path = dir.join("app.sock");
    let server = Setup::threaded().on(&[&format!("unix://{}", path.display())]).start(test_app);
    std::fs::remove_file(&path).unwrap();
    let _foreign = UnixListener::bind(&path).unwrap();
    server.stop();
    assert!(path.exists());
}

#[test]
fn localhost_means_ipv4_and_ipv6_with_one_port() {
    let server = Setup::threaded().on(&["localhost:0"]).start(test_app);
    let ports: Vec<_> = server.local.iter().map(|local| local.port().unwrap()).collect();
    if ports.len() == 1 {
        return skip("this machine has no IPv6");
    }
    assert_eq!(ports[0], ports[1]);
    for (host, remote) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let addr: SocketAddr = format!("{host}:{}", ports[0]).parse().unwrap();
        let text = Client::connect(addr).get("/environ").text();
        for line in [format!("REMOTE_ADDR={remote}\n"), "SERVER_NAME=localhost\n".into()] {
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}

#[test]
fn the_name_of_a_server_at_an_ipv6_address_has_brackets() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return skip("this machine has no IPv6") };
    drop(listener);
    let server = Setup::threaded().on(&["[::1]:0"]).start(test_app);
    let text = server.get("/environ").text();
    assert!(text.contains("SERVER_NAME=[::1]\n") && text.contains("REMOTE_ADDR=::1\n"), "{text}");
}

#[test]
fn one_server_listens_on_several_addresses() {
    let dir = TempDir::new("several");
    let unix = format!("unix://{}", dir.join("a.sock").display());
    let server = Setup::threaded().on(&["127.0.0.1:0", "127.0.0.2:0", &unix]).start(test_app);
    assert_eq!(server.local.len(), 3);
    for local in &server.local[..2] {
        let LocalAddr::Tcp(addr) = local else { panic!("{local}") };
        assert_eq!(Client::connect(*addr).get("/").text(), "hello");
    }
    let mut client = Client::on(UnixStream::connect(dir.join("a.sock")).unwrap());
    assert_eq!(client.get("/").text(), "hello");
}

#[test]
fn a_server_on_all_addresses_accepts_ipv4_clients() {
    let server = Setup::threaded().on(&["*:0"]).start(test_app);
    let addr: SocketAddr = format!("127.0.0.1:{}", server.local[0].port().unwrap()).parse().unwrap();
    let text = Client::connect(addr).get("/environ").text();
    assert!(text.contains("REMOTE_ADDR=127.0.0.1\n"), "{text}");
}

#[test]
fn unusable_addresses_are_explained() {
    let taken = Setup::threaded().start(test_app);
    for (address, sentence) in [
        (taken.addr().to_string(), "in use"),
        ("no-such-name.invalid:0".into(), "check its spelling"),
        ("fd://0".into(), "fd://0"),
        ("fd://999".into(), "fd://999"),
        ("unix:///no/such/directory/a.sock".into(), "/no/such/directory"),
    ] {
        let address: Address = address.parse().unwrap();
        let error =
            make_server(&[address], test_app, Concurrency::Single, settings_without_log()).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
        assert!(error.starts_with("can't listen on "), "{error}");
    }
    let error = make_server(&[], test_app, Concurrency::Single, settings_without_log()).unwrap_err().to_string();
    assert!(error.contains("at least one address"), "{error}");
}

/// A safe function that accepted any number could close a descriptor that a `TcpListener` owns.
#[cfg(unix)]
#[test]
fn a_descriptor_that_this_process_has_opened_is_refused() {
    use std::os::fd::AsRawFd;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [Address::Fd(listener.as_raw_fd()), format!("fd://{}", listener.as_raw_fd()).parse().unwrap()] {
        let error =
            make_server(&[address], test_app, Concurrency::Single, settings_without_log()).unwrap_err().to_string();
        assert!(error.contains("this process was not started with that descriptor"), "{error}");
    }
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap(), "the listener is still open and blocking");
}

/// A script that opens a listening socket as descriptor 3 and executes its arguments.
const PASSES_A_SOCKET: &str = "
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ['LISTEN_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = '1'
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn an_inherited_socket_is_served_by_number_and_from_systemd() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return skip("python3, which passes on a socket, is not installed");
    }
    for (role, address) in [("threads", "fd://3"), ("single", "fd://3"), ("systemd", "127.0.0.1:0")] {
        let mut server = ServerProcess::from_script(role, &["python3", "-c", PASSES_A_SOCKET], address);
        assert_eq!(server.get("/").text(), "hello", "{role}");
        assert!(server.stop());
    }
}
