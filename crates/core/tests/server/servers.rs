//! What tells the three servers apart; addresses; `handle_request`; upgrades.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::helper::Helper;
use crate::support::*;
use amboss_core::{
    make_server, on_upgrade, Address, AppError, BaseWsgiServer, Body, Concurrency, Environ, LocalAddr, NoLog,
    PollerKind, ServeError, Settings, StartResponse, ThreadedWsgiServer,
};

const MS: Duration = Duration::from_millis(1);

fn quiet() -> Settings {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    settings
}

/// `/sleep/N` takes N ms, `/stream/N` as long for each of three blocks. Keeps the greatest number that ran at once.
#[derive(Clone, Default)]
struct Sleeper {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Sleeper {
    fn sleep(&self, time: Duration) {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        thread::sleep(time);
        self.running.fetch_sub(1, SeqCst);
    }
}

impl amboss_core::Application for Sleeper {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.text("PATH_INFO").into_owned();
        start_response.start("200 OK", &[])?;
        if let Some(time) = path.strip_prefix("/sleep/") {
            self.sleep(MS * time.parse()?);
        }
        if let Some(time) = path.strip_prefix("/stream/") {
            let (this, time) = (self.clone(), MS * time.parse()?);
            return Ok(Body::iter((0..3).map(move |_| {
                this.sleep(time);
                b"hello".to_vec()
            })));
        }
        Ok(Body::from("hello"))
    }
}

// One request at a time

#[test]
fn base_serves_while_idle_connections_are_open() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let server = Setup::base().with(|settings| settings.poller = poller).start(fixture);
        let _idle = server.connect();
        let mut kept = server.connect();
        kept.get("/");
        let mut half = server.connect();
        half.send("GET / HT");
        assert_eq!(server.get("/").text(), "hello");
        half.send("TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(half.response().text(), "hello");
    }
}

#[test]
fn base_runs_one_request_at_a_time_in_the_thread_that_serves() {
    let sleeper = Sleeper::default();
    let server = Setup::base().start(sleeper.clone());
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /sleep/10 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "hello");
    }
    assert_eq!(sleeper.most.load(SeqCst), 1);
}

// Threads

#[test]
fn slow_requests_delay_nobody_in_a_threaded_server() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        for path in ["/sleep/400", "/stream/200"] {
            let server = Setup::threaded().with(|settings| settings.poller = poller).start(Sleeper::default());
            let mut slow: Vec<Client> = (0..8).map(|_| server.connect()).collect();
            let began = Instant::now();
            for client in &mut slow {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
            let mut fast = server.connect();
            for _ in 0..50 {
                assert_eq!(fast.get("/").text(), "hello");
            }
            assert!(began.elapsed() < 300 * MS, "{:?}", began.elapsed());
            for client in &mut slow {
                assert!(client.response().text().starts_with("hello"));
            }
            // All at once, not one after the other.
            assert!(began.elapsed() < 2000 * MS, "{:?}", began.elapsed());
        }
    }
}

#[test]
fn never_more_requests_run_than_there_may_be_threads_and_the_others_wait_their_turn() {
    for (threads, count) in [(1, 6), (3, 12)] {
        for path in ["/sleep/20", "/stream/8"] {
            let sleeper = Sleeper::default();
            let server = Setup::threaded().with(|settings| settings.threads = threads).start(sleeper.clone());
            let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
            for client in &mut clients {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
            for client in &mut clients {
                assert!(client.response().text().starts_with("hello"));
            }
            let most = sleeper.most.load(SeqCst);
            assert!(most <= threads, "{most} ran at once with {threads} threads: {path}");
            assert_eq!(server.get("/").text(), "hello");
        }
    }
}

#[test]
fn pipelined_requests_behind_a_slow_one_are_answered_in_order() {
    let server = Setup::threaded().start(Sleeper::default());
    let mut client = server.connect();
    let one = "GET /sleep/15 HTTP/1.1\r\nHost: a\r\n\r\nGET /stream/5 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..5 {
        client.send(one.repeat(2));
        for _ in 0..2 {
            assert_eq!(client.response().text(), "hello");
            assert_eq!(client.response().text(), "hellohellohello");
            assert_eq!(client.response().text(), "hello");
        }
    }
}

#[test]
fn the_environ_tells_how_the_server_runs() {
    let truths = |text: String| ["wsgi.multithread=true\n", "wsgi.multiprocess=true\n"].map(|line| text.contains(line));
    assert_eq!(truths(Setup::base().start(fixture).get("/environ").text()), [false, false]);
    assert_eq!(truths(Setup::threaded().start(fixture).get("/environ").text()), [true, false]);
    assert_eq!(truths(Helper::start("forking").get("/environ").text()), [false, true]);
}

// Processes

#[test]
fn each_request_has_a_process_and_keep_alive_goes_across_them() {
    let mut helper = Helper::start("forking");
    let mut client = Client::connect(helper.addr);
    let mut pids: Vec<String> = (0..5).map(|_| client.get("/pid").text()).collect();
    pids.push(helper.get("/pid").text());
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 6);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "body");
    assert_eq!(client.response().status, 200);
    eventually("idle connections hold no process, and no zombie is left", || helper.children().is_empty());
    assert!(helper.stop());
}

#[test]
fn no_more_children_run_than_allowed() {
    let helper = Helper::forking(2);
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(helper.addr)).collect();
    for client in &mut clients {
        client.send("GET /sleep/100 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut most = 0;
    eventually("all are answered", || {
        most = most.max(helper.children().len());
        clients.retain_mut(|client| client.is_silent_for(MS));
        clients.is_empty()
    });
    assert_eq!(most, 2);
}

#[test]
fn a_child_that_is_killed_or_crashes_hurts_nobody() {
    let helper = Helper::start("forking");
    let mut victim = Client::connect(helper.addr);
    victim.send("GET /sleep/10000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut other = Client::connect(helper.addr);
    other.send("GET /sleep/300 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("both run", || helper.children().len() == 2);
    let first = helper.children().iter().map(|child| child.0).min().unwrap();
    assert!(std::process::Command::new("kill").arg("-9").arg(first.to_string()).status().unwrap().success());
    assert!(victim.at_end());
    assert!(Client::connect(helper.addr).get("/abort_not").status == 200);
    let mut crashing = Client::connect(helper.addr);
    crashing.send("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(crashing.at_end());
    assert_eq!(helper.get("/panic").status, 500);
    assert_eq!(other.response().text(), "hello");
    eventually("the log says so", || helper.stderr().contains("was killed"));
    eventually("no zombie", || helper.children().is_empty());
}

#[test]
fn a_forking_server_stops_within_its_deadline_and_leaves_no_child() {
    let mut helper = Helper::start("forking");
    let mut short = Client::connect(helper.addr);
    short.send("GET /sleep/200 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut long = Client::connect(helper.addr);
    long.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("both run", || helper.children().len() == 2);
    let children = helper.children();
    let began = Instant::now();
    assert!(helper.stop());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(short.response().text(), "hello");
    assert!(long.at_end());
    for (pid, _) in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn forking_beside_threads_of_another_server_is_refused() {
    let _threaded = Setup::threaded().start(fixture);
    eventually("it has threads", || {
        let address = [Address::new("127.0.0.1", 0)];
        let mut server = make_server(&address, fixture, Concurrency::Processes, quiet()).unwrap();
        server.shutdown_handle().shutdown();
        match server.serve_forever() {
            Err(ServeError::Settings(sentence)) => {
                assert!(sentence.contains("can't fork"), "{sentence}");
                true
            }
            _ => false,
        }
    });
}

// handle_request

#[test]
fn one_request_is_handled_and_its_answer_is_out() {
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        for poller in [PollerKind::Auto, PollerKind::Poll] {
            let mut settings = quiet();
            settings.poller = poller;
            let mut server = make_server(&[Address::new("127.0.0.1", 0)], fixture, concurrency, settings).unwrap();
            let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
            let idle = Client::connect(addr);
            let client = thread::spawn(move || {
                let mut client = Client::connect(addr);
                let answer = client.get("/environ");
                assert!(client.at_end() && !client.reset);
                answer
            });
            assert!(server.handle_request(DEADLINE).unwrap());
            // Everything is written: nothing of this process is needed any more.
            drop(server);
            let answer = client.join().unwrap();
            assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
            drop(idle);
            assert!(TcpStream::connect(addr).is_err(), "the port is free");
            let again = make_server(&[Address::new("127.0.0.1", addr.port())], fixture, concurrency, quiet());
            assert!(again.is_ok(), "{again:?}");
        }
    }
}

#[test]
fn large_streamed_and_late_answers_are_out_when_handle_request_returns() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        start_response.start("200 OK", &[])?;
        Ok(match environ.path().as_ref() {
            b"/large" => Body::from(vec![b'x'; 5_000_000]),
            _ => Body::iter((0..50).map(|_| vec![b'x'; 100_000])),
        })
    };
    for path in ["/large", "/blocks"] {
        let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, quiet()).unwrap();
        let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
        let client = thread::spawn(move || Client::connect(addr).get(path));
        assert!(server.handle_request(DEADLINE).unwrap());
        drop(server);
        let answer = client.join().unwrap();
        assert_eq!((answer.complete, answer.body.len()), (true, 5_000_000));
    }
}

#[test]
fn handle_request_gives_up_at_its_deadline() {
    let mut settings = quiet();
    settings.timeouts.linger = 100 * MS;
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", fixture, settings).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    // Neither idle connections nor half a head count as a request.
    let idle = Client::connect(addr);
    let mut half = Client::connect(addr);
    half.send("GET / HTTP/1.1\r\n");
    let began = Instant::now();
    assert!(!server.handle_request(100 * MS).unwrap());
    let took = began.elapsed();
    assert!(took >= 100 * MS && took < 1000 * MS, "{took:?}");
    // And it can be asked again.
    half.send("Host: a\r\n\r\n");
    assert!(server.handle_request(DEADLINE).unwrap());
    // The client has not closed its side: that is waited for, but not for long.
    assert!(began.elapsed() < 3000 * MS, "{:?}", began.elapsed());
    assert_eq!(half.response().text(), "hello");
    drop(idle);
}

#[test]
fn one_call_of_handle_request_answers_one_request() {
    let app = |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        start_response.start("200 OK", &[])?;
        Ok(Body::from(vec![b'x'; 5_000_000]))
    };
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, quiet()).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let readers: Vec<_> = clients.into_iter().map(|mut client| thread::spawn(move || client.response())).collect();
    for number in 1..=3 {
        assert!(server.handle_request(DEADLINE).unwrap());
        eventually("its client has it", || readers.iter().filter(|reader| reader.is_finished()).count() >= number);
        assert_eq!(readers.iter().filter(|reader| reader.is_finished()).count(), number);
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap().body.len(), 5_000_000);
    }
}

#[test]
fn handle_request_can_be_called_in_a_row() {
    let mut server = ThreadedWsgiServer::with_settings("127.0.0.1:0", fixture, quiet()).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let client = thread::spawn(move || (0..5).map(|_| Client::connect(addr).get("/").status).collect::<Vec<_>>());
    for _ in 0..5 {
        assert!(server.handle_request(DEADLINE).unwrap());
    }
    assert_eq!(client.join().unwrap(), [200; 5]);
}

// Upgrade

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

// Addresses

#[test]
fn a_unix_socket_serves_and_its_file_goes_with_it() {
    let dir = temp_dir("unix");
    let path = dir.join("app.sock");
    let address = format!("unix://{}", path.display());
    // A file that a killed server left behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Setup::threaded().on(&[&address]).with(|settings| settings.unix_mode = Some(0o600)).start(fixture);
    assert_eq!(server.local[0].to_string(), address);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut client = Client::on(stream);
    let text = client.get("/environ").text();
    for line in ["REMOTE_ADDR=<local>\n", "REMOTE_PORT=0\n", &format!("SERVER_NAME={address}\n"), "SERVER_PORT=0\n"] {
        assert!(text.contains(line), "{line}{text}");
    }
    // Somebody listens there.
    let second = make_server(&[address.parse().unwrap()], fixture, Concurrency::Single, quiet());
    let sentence = second.unwrap_err().to_string();
    assert!(sentence.contains("another program listens there") && sentence.contains("app.sock"), "{sentence}");
    assert_eq!(client.get("/").text(), "hello", "and goes on listening");
    server.stop();
    assert!(!path.exists());

    std::fs::write(&path, "precious").unwrap();
    let sentence =
        make_server(&[address.parse().unwrap()], fixture, Concurrency::Single, quiet()).unwrap_err().to_string();
    assert!(sentence.contains("no socket"), "{sentence}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_socket_file_that_somebody_else_has_put_there_stays() {
    let dir = temp_dir("theirs");
    let path = dir.join("app.sock");
    let server = Setup::threaded().on(&[&format!("unix://{}", path.display())]).start(fixture);
    std::fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    server.stop();
    assert!(path.exists());
}

#[test]
fn localhost_is_both_families_with_one_port() {
    let server = Setup::threaded().on(&["localhost:0"]).start(fixture);
    let ports: Vec<_> = server.local.iter().map(|local| local.port().unwrap()).collect();
    if ports.len() == 1 {
        return skipped("this machine has no IPv6");
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
fn one_server_listens_on_several_addresses() {
    let dir = temp_dir("several");
    let unix = format!("unix://{}", dir.join("a.sock").display());
    let server = Setup::threaded().on(&["127.0.0.1:0", "127.0.0.2:0", &unix]).start(fixture);
    assert_eq!(server.local.len(), 3);
    for local in &server.local[..2] {
        let LocalAddr::Tcp(addr) = local else { panic!("{local}") };
        assert_eq!(Client::connect(*addr).get("/").text(), "hello");
    }
    let mut client = Client::on(UnixStream::connect(dir.join("a.sock")).unwrap());
    assert_eq!(client.get("/").text(), "hello");
}

#[test]
fn all_addresses_take_ipv4_clients_too() {
    let server = Setup::threaded().on(&["*:0"]).start(fixture);
    let addr: SocketAddr = format!("127.0.0.1:{}", server.local[0].port().unwrap()).parse().unwrap();
    let text = Client::connect(addr).get("/environ").text();
    assert!(text.contains("REMOTE_ADDR=127.0.0.1\n"), "{text}");
}

#[test]
fn addresses_that_can_t_be_had_get_a_sentence() {
    let taken = Setup::threaded().start(fixture);
    for (address, sentence) in [
        (taken.addr().to_string(), "in use"),
        ("no-such-name.invalid:0".into(), "is it spelled right"),
        ("fd://0".into(), "fd://0"),
        ("fd://999".into(), "fd://999"),
        ("unix:///no/such/directory/a.sock".into(), "/no/such/directory"),
    ] {
        let address: Address = address.parse().unwrap();
        let error = make_server(&[address], fixture, Concurrency::Single, quiet()).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
        assert!(error.starts_with("can't listen on "), "{error}");
    }
    let error = make_server(&[], fixture, Concurrency::Single, quiet()).unwrap_err().to_string();
    assert!(error.contains("at least one address"), "{error}");
}

/// A program that opens a listening socket as descriptor 3 and becomes its arguments.
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
fn an_inherited_socket_is_served_by_number_and_as_systemd_passes_it() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return skipped("python3, which passes a socket on");
    }
    for (role, address) in [("threads", "fd://3"), ("base", "fd://3"), ("systemd", "127.0.0.1:0")] {
        let mut helper = Helper::scripted(role, &["python3", "-c", PASSES_A_SOCKET], address);
        assert_eq!(helper.get("/").text(), "hello", "{role}");
        assert!(helper.stop());
    }
}
