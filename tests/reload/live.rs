//! `live`: which responses get the script, what listening to a swap costs, and an open tab in Chromium.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use amboss::{Address, AppError, Body, Environ, RunOptions, ServerBuilder, ShutdownHandle, StartResponse};

use crate::program::{eventually, eventually_within, is_alive, Program, Stopped, Told, DEADLINE};

const PAGE: &str = "<!doctype html><p>a page</p>";
const SCRIPT: &str = "<script async src=\"/__amboss__/live.js?";

/// Held by whoever serves in this process: shared, or alone where processes are forked, which no server does beside the
/// threads of another one.
static TURN: RwLock<()> = RwLock::new(());

/// A server in this process, ended when dropped.
struct Serving {
    port: u16,
    handle: ShutdownHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn start(change: impl FnOnce(&mut RunOptions)) -> Serving {
        let mut options = RunOptions::default();
        options.live_reload = true;
        change(&mut options);
        let builder = ServerBuilder::new(pages).bind(Address::new("127.0.0.1", 0));
        let mut server = builder.options(options).build().unwrap();
        let port = server.local_addrs()[0].to_string().rsplit(':').next().unwrap().parse().unwrap();
        let handle = server.shutdown_handle();
        let thread = Some(std::thread::spawn(move || server.serve_forever().unwrap()));
        Serving { port, handle, thread }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The same page in all the ways an application can answer.
fn pages(environ: &mut Environ<'_>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
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

/// The page in UTF-16: with this charset, a byte order mark, the least byte first, and answered in this way.
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

/// Head and body as they come.
fn ask(port: u16, method: &str, path: &str, fields: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: a\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
}

#[test]
fn the_script_ends_every_kind_of_page_and_its_length_is_right() {
    let _turn = TURN.read();
    let server = Serving::start(|_| {});
    for path in ["/bytes", "/declared", "/blocks", "/file", "/written", "/nothing-for-head"] {
        let (head, body) = ask(server.port, "GET", path, "");
        let script = body.strip_prefix(PAGE).unwrap_or_else(|| panic!("{path}: {body}"));
        assert!(script.starts_with(SCRIPT) && script.ends_with("\"></script>"), "{path}: {body}");
        assert!(length(&head).is_none_or(|length| length == body.len()), "{path}: {head}");
        // A copy of the page would name old code for ever.
        assert!(head.contains("Cache-Control: no-store") && !head.contains("ETag"), "{path}: {head}");
        let (for_head, nothing) = ask(server.port, "HEAD", path, "");
        assert_eq!(nothing, "", "{path}");
        assert_eq!(length(&for_head), length(&head), "{path}: {for_head}");
    }
    for path in ["/bytes", "/declared"] {
        let (head, body) = ask(server.port, "GET", path, "");
        assert_eq!(length(&head), Some(body.len()), "{path}: {head}");
    }
}

/// Bytes that are no UTF-8, too.
fn ask_bytes(port: u16, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
}

/// The name of the encoding counts, and a byte order mark more: so browsers read a page.
#[test]
fn a_page_in_utf_16_gets_a_script_in_utf_16() {
    let _turn = TURN.read();
    let server = Serving::start(|_| {});
    for (label, mark, little) in
        [("utf-16le", false, true), ("UTF-16BE", false, false), ("\"utf-16\"", true, false), ("", true, true)]
    {
        for way in ["bytes", "declared", "blocks", "written"] {
            let path = format!("/utf-16?{label}&{mark}&{little}&{way}");
            let (head, body) = ask_bytes(server.port, &path.replace('"', "%22"));
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
fn what_is_no_page_is_left_alone() {
    let _turn = TURN.read();
    let server = Serving::start(|_| {});
    for (path, fields) in [("/plain", ""), ("/encoded", ""), ("/declared", "Sec-Fetch-Dest: empty\r\n")] {
        let (head, body) = ask(server.port, "GET", path, fields);
        assert_eq!(body, PAGE, "{path}: {head}");
        assert!(length(&head).is_none_or(|length| length == PAGE.len()), "{path}: {head}");
    }
    let quiet = Serving::start(|options| options.live_reload = false);
    let (head, body) = ask(quiet.port, "GET", "/declared", "");
    assert!(body == PAGE && head.contains("ETag"), "not asked for: {head}\n{body}");
}

#[test]
fn a_server_that_runs_few_requests_at_once_is_not_held_by_open_pages() {
    let _turn = TURN.write();
    for change in [
        (|options: &mut RunOptions| options.threaded = Some(false)) as fn(&mut RunOptions),
        |options| options.processes = 2,
        |options| options.settings.runtime.threads = 1,
    ] {
        let server = Serving::start(change);
        for _ in 0..3 {
            let (head, body) = ask(server.port, "GET", "/__amboss__/live", "");
            assert!(head.contains("text/event-stream") && body.starts_with("retry: 1000\ndata: "), "{head}\n{body}");
        }
        assert!(ask(server.port, "GET", "/bytes", "").1.starts_with(PAGE));
    }
}

/// An open tab, as far as the server can tell; and the code it was told.
fn listen(port: u16) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET /__amboss__/live HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut text, mut piece) = (String::new(), [0; 1024]);
    while !text.split("data: ").nth(1).is_some_and(|data| data.contains("\n\n")) {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let code = text.split("data: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    (stream, code)
}

#[test]
fn open_tabs_delay_neither_a_swap_nor_a_stop() {
    let mut program = Program::start("tabs", Told { live: true, ..Told::default() });
    let old = program.wait_for("good 0");
    let tabs: Vec<(TcpStream, String)> = (0..8).map(|_| listen(program.port)).collect();
    assert!(tabs.iter().all(|(_, code)| *code == tabs[0].1));
    program.save("good 1");
    program.wait_for("good 1");
    let began = Instant::now();
    eventually("the old process is gone", || !is_alive(old));
    for (mut tab, old_code) in tabs {
        // The stream's end; the connection goes on.
        let (mut text, mut piece) = (String::new(), [0; 64]);
        while !text.ends_with("0\r\n\r\n") {
            let count = tab.read(&mut piece).unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        assert_ne!(listen(program.port).1, old_code, "so that the page loads again");
    }
    let _tabs: Vec<(TcpStream, String)> = (0..8).map(|_| listen(program.port)).collect();
    // A busy machine takes its time; the deadline for running requests would be ten seconds.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let began = Instant::now();
    program.signal("TERM");
    assert_eq!(program.ends(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(!program.said().contains("__amboss__"), "nobody has asked for that: {}", program.said());
}

#[test]
fn workers_with_the_same_code_are_the_same_to_a_page() {
    let program = Program::start("live-workers", Told { live: true, workers: 3, ..Told::default() });
    program.wait_for("good 0");
    let pids = program.workers(3);
    let mut codes: Vec<String> = Vec::new();
    for pid in &pids {
        // Nobody else can answer.
        let _others: Vec<Stopped> =
            pids.iter().filter(|other| *other != pid).map(|&other| Stopped::new(other)).collect();
        codes.push(listen(program.port).1);
    }
    codes.dedup();
    assert_eq!(codes.len(), 1, "{codes:?}");
    program.save("good 1");
    program.signal("HUP");
    eventually("another code", || listen(program.port).1 != codes[0]);
}

/// Chromium with one tab, kept open; ended when dropped.
struct Chromium {
    child: Child,
    profile: PathBuf,
}

impl Chromium {
    /// `None`, aloud, without one.
    fn open(url: &str) -> Option<Chromium> {
        let profile = std::env::temp_dir().join(format!("amboss-live-chromium-{}", std::process::id()));
        for name in ["chromium", "chromium-browser", "google-chrome"] {
            let version = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !version.is_ok_and(|status| status.success()) {
                continue;
            }
            let child = Command::new(name)
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
                .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
                // Keeps it open.
                .arg("--remote-debugging-port=0")
                .arg(format!("--user-data-dir={}", profile.display()))
                .arg(url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            if let Ok(child) = child {
                return Some(Chromium { child, profile });
            }
        }
        println!("skipped: there is no Chromium here");
        None
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked politely it ends its processes as well.
        crate::program::signal(self.child.id(), "TERM");
        let until = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

#[test]
fn an_open_tab_in_chromium_follows_the_code_also_through_the_error_page() {
    let program = Program::start("chromium", Told { live: true, error_page: true, ..Told::default() });
    program.wait_for("good 0");
    let url = format!("http://127.0.0.1:{}/tab", program.port);
    let Some(_browser) = Chromium::open(&url) else { return };
    // How often the process that serves this code was asked for the tab's page.
    let asked = |code: &str| {
        let (_, body) = program.get("/tabs").unwrap_or_default();
        let count = body.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok());
        if body.starts_with(code) {
            count.unwrap_or(0)
        } else {
            0
        }
    };
    // The browser's first start on a machine takes its time.
    eventually_within(DEADLINE * 4, "the tab is there", || asked("good 0") > 0);
    for round in 1..=2 {
        let code = format!("good {round}");
        program.save(&code);
        eventually(&format!("the tab asks for {code} by itself"), || asked(&code) > 0);
    }
    program.save("bad 3");
    eventually("the tab shows why", || program.said().contains("\"GET /tab HTTP/1.1\" 503"));
    program.save("good 4");
    eventually("the tab comes back by itself", || asked("good 4") > 0);
    program.save("good 5");
    eventually("and follows on", || asked("good 5") > 0);
}
