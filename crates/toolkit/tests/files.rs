//! Folders over sockets, with curl and with an HTTP client that sees each byte.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use amboss_core::{
    make_server, Address, Application, Concurrency, LocalAddr, NoLog, ServeError, Settings, ShutdownHandle,
};
use amboss_testkit::{curl, find_chromium, run_with_timeout, try_curl, Client, TempDir, DEADLINE};
use amboss_toolkit::files::{Folder, FolderOptions, StaticFiles};
use amboss_toolkit::middleware::Health;
use amboss_toolkit::Response;

/// A server in a thread. Dropping the value stops it.
struct Server {
    address: std::net::SocketAddr,
    handle: ShutdownHandle,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    fn start(app: impl Application + 'static, change: impl FnOnce(&mut Settings)) -> Server {
        let mut settings = Settings::default();
        settings.log = Arc::new(NoLog);
        change(&mut settings);
        let mut server = make_server(&[Address::new("127.0.0.1", 0)], app, Concurrency::Threads, settings).unwrap();
        let LocalAddr::Tcp(address) = server.local_addrs()[0] else { panic!("the address is TCP") };
        let handle = server.shutdown_handle();
        Server { address, handle, thread: Some(std::thread::spawn(move || server.serve_forever())) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shutdown();
        let result = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

/// A folder with files of several sizes, which were changed an hour ago.
fn folder() -> TempDir {
    let folder = TempDir::new("served");
    for (name, length) in [("small.txt", 1024), ("medium.txt", 100 * 1024), ("large.bin", 3 << 20), ("empty.txt", 0)] {
        let text: String = (0..length / 8).map(|number| format!("{number:07}\n")).collect();
        folder.write(name, &text);
        let file = File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    folder
}

fn content(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn files_of_all_sizes_arrive_over_one_connection() {
    let folder = folder();
    let server = Server::start(Folder::new(folder.path()).unwrap(), |_| {});
    let mut client = Client::connect(server.address);
    for name in ["small.txt", "medium.txt", "empty.txt", "large.bin", "small.txt"] {
        let response = client.get(&format!("/{name}"));
        assert!(response.status == 200 && response.body == content(&folder, name), "{name}");
        client.send(format!("HEAD /{name} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.response_to_head();
        assert_eq!(head.field("Content-Length"), response.field("Content-Length"), "{name}");
        assert_eq!(head.field("ETag"), response.field("ETag"), "{name}");
        assert!(head.body.is_empty());
    }
}

#[test]
fn curl_resumes_asks_for_ranges_and_for_changes() {
    let folder = folder();
    let server = Server::start(Folder::new(folder.path()).unwrap(), |_| {});
    let large = content(&folder, "large.bin");
    let url = server.url("/large.bin");
    let Some(output) = try_curl(&["-r", "100-199", &url], b"") else { return };
    assert!(output.stdout == large[100..200]);
    let suffix = try_curl(&["-r", "-1000000", &url], b"").unwrap();
    assert!(suffix.stdout == large[large.len() - 1_000_000..]);
    let several = curl(&["-i", "-r", "0-6,1000000-1000006", &url], b"").unwrap();
    assert!(several.contains("multipart/byteranges") && several.contains("0000000") && several.contains("0125000"));

    std::fs::write(folder.join("part"), &large[..1_000_000]).unwrap();
    curl(&["-C", "-", "-o", &folder.join_str("part"), &url], b"").unwrap();
    assert!(content(&folder, "part") == large, "a download is resumed");

    let head = curl(&["-I", &url], b"").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Length: 3145728"), "{head}");
    let date = head.lines().find_map(|line| line.strip_prefix("Last-Modified: ")).unwrap();
    let status = |arguments: &[&str]| {
        curl(&[&["-s", "-o", "/dev/null", "-w", "%{http_code}"], arguments].concat(), b"").unwrap()
    };
    assert_eq!(status(&["-z", date, &url]), "304");
    assert_eq!(status(&["-r", "9999999-", &url]), "416");
    let etag = folder.join_str("etag");
    assert_eq!(status(&["--etag-save", &etag, &url]), "200");
    assert_eq!(status(&["--etag-compare", &etag, &url]), "304");
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/..%2fCargo.toml", "/small.txt%00", "/..\\x"] {
        let code = status(&["--path-as-is", &server.url(path)]);
        assert!(matches!(code.as_str(), "400" | "404"), "{path}: {code}");
    }
}

#[test]
fn a_range_beyond_4_gib_is_sent() {
    let folder = folder();
    let length: u64 = (5 << 30) + 7;
    File::create(folder.join("huge.bin")).unwrap().set_len(length).unwrap();
    let server = Server::start(Folder::new(folder.path()).unwrap(), |_| {});
    let mut client = Client::connect(server.address).with_fields(&format!("Range: bytes={}-\r\n", length - 200_000));
    let response = client.get("/huge.bin");
    assert_eq!((response.status, response.body.len()), (206, 200_000));
    let last = format!("bytes {}-{}/{length}", length - 200_000, length - 1);
    assert_eq!(response.field("Content-Range"), Some(last.as_str()));
}

#[test]
fn a_file_that_is_truncated_while_it_is_sent_ends_the_connection() {
    let folder = folder();
    let file = File::options().write(true).create_new(true).open(folder.join("shrinking.bin")).unwrap();
    file.set_len(1 << 30).unwrap();
    let server = Server::start(Folder::new(folder.path()).unwrap(), |_| {});
    for range in ["", "Range: bytes=0-99999999,500000000-999999999\r\n"] {
        file.set_len(1 << 30).unwrap();
        let mut client = Client::connect(server.address).with_fields(range);
        client.send_get("/shrinking.bin");
        client.until("\r\n\r\n");
        file.set_len(1000).unwrap();
        let received = client.rest();
        assert!(received.len() < 1 << 29, "{} bytes", received.len());
    }
}

/// Requests for files and health checks take no place among the threads, so they are answered while every thread runs a
/// slow request.
#[test]
fn files_and_health_checks_are_answered_within_20_ms_while_every_thread_is_busy() {
    let folder = folder();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let slow = move |_: &mut amboss_core::Environ<'_>, start: &mut dyn amboss_core::StartResponse| {
        let _ = blocked.lock().unwrap().recv_timeout(DEADLINE);
        Response::text("slow").respond(start)
    };
    let app = StaticFiles::new(Health::new(slow, "/healthz")).folder("/static", folder.path()).unwrap();
    let server = Server::start(app, |settings| settings.runtime.threads = 2);
    let mut busy: Vec<_> = (0..4).map(|_| Client::connect(server.address)).collect();
    for client in &mut busy {
        client.send_get("/slow");
    }
    // Two run, and two wait for a thread.
    assert!(busy[0].is_silent_for(Duration::from_millis(50)));
    let mut client = Client::connect(server.address);
    for (path, expected) in [("/static/small.txt", content(&folder, "small.txt")), ("/healthz", b"ok\n".to_vec())] {
        // The median: other programs of the machine may delay some of the requests.
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let started = Instant::now();
                assert!(client.get(path).body == expected, "{path}");
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        assert!(times[10] < Duration::from_millis(20) && times[20] < Duration::from_secs(2), "{path}: {times:?}");
    }
    assert!(client.get("/static/large.bin").body == content(&folder, "large.bin"));
    client.send_get("/static/none");
    assert!(client.is_silent_for(Duration::from_millis(50)), "what is no file waits for a thread");
    drop(release);
    for client in &mut busy {
        assert_eq!(client.response().text(), "slow");
    }
    assert_eq!(client.response().text(), "slow");
}

#[test]
fn a_listing_is_shown_by_a_browser_without_a_complaint() {
    let Some(chromium) = find_chromium() else { return };
    let folder = folder();
    let mut options = FolderOptions::default();
    options.listing = true;
    let server = Server::start(Folder::with_options(folder.path(), options).unwrap(), |_| {});
    let profile = format!("--user-data-dir={}", folder.join_str(".profile"));
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--enable-logging=stderr",
        "--virtual-time-budget=3000",
        &profile,
        "--dump-dom",
        &server.url("/?sort=size"),
    ];
    let Some(output) = run_with_timeout(DEADLINE * 3, chromium, &arguments, b"") else { return };
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("large.bin") && page.contains("3.0 MiB"), "{page}");
    assert!(!output.stderr.contains("Content Security Policy"), "{}", output.stderr);
}
