//! `live`: which responses get the script, what open pages cost the server, and an open tab in Chromium.

use std::process::{Command, Stdio};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use amboss::{Address, AppError, Body, Environ, RunOptions, ServerBuilder, ShutdownHandle, StartResponse};

use amboss_testkit::{is_alive, skip, wait_until, wait_until_within, Client, OnDrop, PausedProcess, Process, TempDir};

use crate::supervisor_process::{SupervisorProcess, TestOptions};

const PAGE: &str = "<!doctype html><p>a page</p>";
const SCRIPT: &str = "<script async src=\"/__amboss__/live.js?";

/// A lock that tests hold while they serve in this process: shared, or exclusively when they fork, because no server
/// forks while another one has threads.
static IN_PROCESS: RwLock<()> = RwLock::new(());

/// A server in this process. Dropping the value stops the server.
struct TestServer {
    port: u16,
    handle: ShutdownHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestServer {
    fn start(change: impl FnOnce(&mut RunOptions)) -> TestServer {
        let mut options = RunOptions::default();
        options.live_reload = true;
        change(&mut options);
        let builder = ServerBuilder::new(page_app).bind(Address::new("127.0.0.1", 0));
        let mut server = builder.options(options).build().unwrap();
        let port = server.local_addrs()[0].to_string().rsplit(':').next().unwrap().parse().unwrap();
        let handle = server.shutdown_handle();
        let thread = Some(std::thread::spawn(move || server.serve_forever().unwrap()));
        TestServer { port, handle, thread }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Responds with the same page in all the ways in which an application can.
fn page_app(environ: &mut Environ<'_>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
    let html = ("Content-Type", "text/html; charset=utf-8");
    let length = PAGE.len().to_string();
    let path = environ.path().into_owned();
    if path == b"/utf-16" {
        return in_utf_16(environ, start);
    }
    let head_only = environ.method() == &b"HEAD"[..];
    let fields: &[(&str, &str)] = match &*path {
        b"/declared" | b"/nothing-for-head" => &[html, ("Content-Length", &length), ("ETag", "\"1\"")],
        b"/encoded" => &[html, ("Content-Encoding", "x-none")],
        b"/plain" => &[("Content-Type", "text/plain")],
        _ => &[html],
    };
    start.start("200 OK", fields)?;
    Ok(match &*path {
        b"/nothing-for-head" if head_only => Body::empty(),
        b"/blocks" => Body::iter(PAGE.as_bytes().chunks(5).map(<[u8]>::to_vec).collect::<Vec<_>>()),
        b"/file" => {
            let path = std::env::temp_dir().join(format!("amboss-live-{}", std::process::id()));
            std::fs::write(&path, PAGE)?;
            let file = std::fs::File::open(&path)?;
            std::fs::remove_file(&path)?;
            Body::file(file)
        }
        b"/written" => {
            start.write(PAGE.as_bytes())?;
            Body::empty()
        }
        _ => Body::from(PAGE),
    })
}

/// Responds with the page in UTF-16. The query says the charset, whether there is a byte order mark, whether it is
/// little-endian, and in which way to respond.
fn in_utf_16(environ: &Environ<'_>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
    let query = environ.text("QUERY_STRING").replace("%22", "\"");
    let [label, mark, little, way] = query.split('&').collect::<Vec<_>>()[..] else { panic!("{query}") };
    let mark = if mark == "true" { "\u{feff}" } else { "" };
    let units = format!("{mark}{PAGE}");
    let units = units.encode_utf16();
    let page: Vec<u8> =
        units.flat_map(|unit| if little == "true" { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect();
    let html = if label.is_empty() { "text/html".to_owned() } else { format!("text/html; charset={label}") };
    let length = page.len().to_string();
    let fields = [("Content-Type", &*html), ("Content-Length", &*length)];
    start.start("200 OK", if way == "declared" { &fields } else { &fields[..1] })?;
    Ok(match way {
        "blocks" => Body::iter(page.chunks(1).map(<[u8]>::to_vec).collect::<Vec<_>>()),
        "written" => {
            start.write(&page[..1])?;
            start.write(&page[1..])?;
            Body::empty()
        }
        _ => Body::from(page),
    })
}

/// Sends a request with HTTP/1.0, and returns head and body as they were sent.
fn request(port: u16, method: &str, path: &str, fields: &str) -> (String, Vec<u8>) {
    let mut client = Client::connect(("127.0.0.1", port));
    client.send(format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n"));
    let head = String::from_utf8(client.until("\r\n\r\n")).unwrap();
    let body = client.rest();
    assert!(!client.was_reset());
    (head, body)
}

/// As [`request`], with a body in UTF-8.
fn request_text(port: u16, method: &str, path: &str, fields: &str) -> (String, String) {
    let (head, body) = request(port, method, path, fields);
    (head, String::from_utf8(body).unwrap())
}

fn length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
}

#[test]
fn the_script_is_appended_to_every_kind_of_page_and_the_length_is_correct() {
    let _guard = IN_PROCESS.read();
    let server = TestServer::start(|_| {});
    for path in ["/bytes", "/declared", "/blocks", "/file", "/written", "/nothing-for-head"] {
        let (head, body) = request_text(server.port, "GET", path, "");
        let script = body.strip_prefix(PAGE).unwrap_or_else(|| panic!("{path}: {body}"));
        assert!(script.starts_with(SCRIPT) && script.ends_with("\"></script>"), "{path}: {body}");
        assert!(length(&head).is_none_or(|length| length == body.len()), "{path}: {head}");
        // A cached copy of the page would always carry the id of old code.
        assert!(head.contains("Cache-Control: no-store") && !head.contains("ETag"), "{path}: {head}");
        let (for_head, nothing) = request_text(server.port, "HEAD", path, "");
        assert_eq!(nothing, "", "{path}");
        assert_eq!(length(&for_head), length(&head), "{path}: {for_head}");
    }
    for path in ["/bytes", "/declared"] {
        let (head, body) = request_text(server.port, "GET", path, "");
        assert_eq!(length(&head), Some(body.len()), "{path}: {head}");
    }
}

/// Browsers decode a page by its charset, and a byte order mark overrides that.
#[test]
fn a_page_in_utf_16_gets_a_script_in_utf_16() {
    let _guard = IN_PROCESS.read();
    let server = TestServer::start(|_| {});
    for (label, mark, little) in
        [("utf-16le", false, true), ("UTF-16BE", false, false), ("\"utf-16\"", true, false), ("", true, true)]
    {
        for way in ["bytes", "declared", "blocks", "written"] {
            let path = format!("/utf-16?{label}&{mark}&{little}&{way}");
            let (head, body) = request(server.port, "GET", &path.replace('"', "%22"), "");
            assert!(length(&head).is_none_or(|length| length == body.len()), "{path}: {head}");
            let units: Vec<u16> = body
                .chunks(2)
                .map(|pair| [pair[0], pair[1]])
                .map(|pair| if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
                .collect();
            let text = String::from_utf16(&units).unwrap();
            let script =
                text.trim_start_matches('\u{feff}').strip_prefix(PAGE).unwrap_or_else(|| panic!("{path}: {text}"));
            assert!(script.starts_with(SCRIPT) && script.ends_with("\"></script>"), "{path}: {text}");
        }
    }
}

#[test]
fn responses_that_are_not_pages_are_unchanged() {
    let _guard = IN_PROCESS.read();
    let server = TestServer::start(|_| {});
    for (path, fields) in [("/plain", ""), ("/encoded", ""), ("/declared", "Sec-Fetch-Dest: empty\r\n")] {
        let (head, body) = request_text(server.port, "GET", path, fields);
        assert_eq!(body, PAGE, "{path}: {head}");
        assert!(length(&head).is_none_or(|length| length == PAGE.len()), "{path}: {head}");
    }
    let without_live = TestServer::start(|options| options.live_reload = false);
    let (head, body) = request_text(without_live.port, "GET", "/declared", "");
    assert!(body == PAGE && head.contains("ETag"), "without live reload: {head}\n{body}");
}

#[test]
fn open_pages_do_not_block_a_server_that_runs_few_requests_at_once() {
    let _guard = IN_PROCESS.write();
    for change in [
        (|options: &mut RunOptions| options.threaded = Some(false)) as fn(&mut RunOptions),
        |options| options.processes = 2,
        |options| options.settings.runtime.threads = 1,
    ] {
        let server = TestServer::start(change);
        for _ in 0..3 {
            let (head, body) = request_text(server.port, "GET", "/__amboss__/live", "");
            assert!(head.contains("text/event-stream") && body.starts_with("retry: 1000\ndata: "), "{head}\n{body}");
        }
        assert!(request_text(server.port, "GET", "/bytes", "").1.starts_with(PAGE));
    }
}

/// Opens the stream of events as a page does, and returns it with the id of the code that it was sent.
fn open_tab(port: u16) -> (Client, String) {
    let mut client = Client::connect(("127.0.0.1", port));
    client.send("GET /__amboss__/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.until("data: ");
    let data = String::from_utf8(client.until("\n\n")).unwrap();
    let code = data.lines().next().unwrap().to_owned();
    (client, code)
}

#[test]
fn open_tabs_delay_neither_a_reload_nor_a_stop() {
    let mut program = SupervisorProcess::start("tabs", TestOptions { live: true, ..TestOptions::default() });
    let old = program.wait_for_code("good 0");
    let tabs: Vec<(Client, String)> = (0..8).map(|_| open_tab(program.port)).collect();
    assert!(tabs.iter().all(|(_, code)| *code == tabs[0].1));
    program.save("good 1");
    program.wait_for_code("good 1");
    let began = Instant::now();
    wait_until("the old process has exited", || !is_alive(old));
    for (mut tab, old_code) in tabs {
        // The stream ends with its last chunk; the connection is kept.
        tab.until("0\r\n\r\n");
        assert_ne!(open_tab(program.port).1, old_code, "the page sees that the code has changed");
    }
    let _tabs: Vec<(Client, String)> = (0..8).map(|_| open_tab(program.port)).collect();
    // Below the ten seconds that running requests may take, with time to spare for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let began = Instant::now();
    program.signal("TERM");
    assert_eq!(program.wait_for_exit(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(!program.stderr().contains("__amboss__"), "requests for the script are not logged: {}", program.stderr());
}

#[test]
fn workers_with_the_same_code_send_the_same_id() {
    let program =
        SupervisorProcess::start("live-workers", TestOptions { live: true, workers: 3, ..TestOptions::default() });
    program.wait_for_code("good 0");
    let pids = program.worker_pids(3);
    let mut codes: Vec<String> = Vec::new();
    for pid in &pids {
        // Only this worker can respond.
        let _others: Vec<PausedProcess> =
            pids.iter().filter(|other| *other != pid).map(|&other| PausedProcess::new(other)).collect();
        codes.push(open_tab(program.port).1);
    }
    codes.dedup();
    assert_eq!(codes.len(), 1, "{codes:?}");
    program.save("good 1");
    program.signal("HUP");
    wait_until("a worker sends another id", || open_tab(program.port).1 != codes[0]);
}

/// Chromium with one open tab. Dropping the value ends Chromium.
struct Chromium {
    /// Dropped before the profile. Ended by SIGTERM, so that Chromium ends its own processes as well.
    _process: Process,
    _profile: TempDir,
}

impl Chromium {
    /// Opens a page. `None`, after a skip, when there is no Chromium.
    fn open(url: &str) -> Option<Chromium> {
        let is_installed = |name: &&str| {
            let version = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        };
        let Some(name) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_installed) else {
            skip("Chromium is not installed");
            return None;
        };
        let profile = TempDir::new("live-chromium");
        let mut command = Command::new(name);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            // Keeps the browser running.
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null());
        Some(Chromium { _process: Process::spawn_with(&mut command, OnDrop::Signal("TERM")), _profile: profile })
    }
}

#[test]
fn an_open_tab_in_chromium_reloads_with_the_code_and_the_error_page() {
    let program =
        SupervisorProcess::start("chromium", TestOptions { live: true, error_page: true, ..TestOptions::default() });
    program.wait_for_code("good 0");
    let url = format!("http://127.0.0.1:{}/tab", program.port);
    let Some(_browser) = Chromium::open(&url) else { return };
    // How often the process that serves this code was asked for the page of the tab.
    let loads = |code: &str| {
        let body = program.try_get("/tabs").map_or(String::new(), |response| response.text());
        let count = body.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok());
        if body.starts_with(code) {
            count.unwrap_or(0)
        } else {
            0
        }
    };
    // The first start of the browser on a machine is slow.
    wait_until_within(Duration::from_secs(120), "the tab is open", || loads("good 0") > 0);
    for round in 1..=2 {
        let code = format!("good {round}");
        program.save(&code);
        wait_until(&format!("the tab reloads with {code}"), || loads(&code) > 0);
    }
    program.save("bad 3");
    program.wait_for_stderr("\"GET /tab HTTP/1.1\" 503");
    program.save("good 4");
    wait_until("the tab reloads after the fix", || loads("good 4") > 0);
    program.save("good 5");
    wait_until("the tab reloads once more", || loads("good 5") > 0);
}
