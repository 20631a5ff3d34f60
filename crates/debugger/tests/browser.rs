//! The pages in Chromium: at two widths, in two colour schemes, with the keyboard and without a script.
#![cfg(unix)]

mod chromium;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use amboss_core::{AppError, Application, Body, Environ, ShutdownHandle, StartResponse, ThreadedWsgiServer};
use amboss_debugger::{DebugPages, FailureReport, Format, Page, Project};
use chromium::Chromium;

/// Calls `inner` from another frame of the project, through a frame of a library.
#[inline(never)]
fn outer(long: &str) -> usize {
    [1_usize].iter().map(|&n| inner(long, n)).sum()
}

#[inline(never)]
fn inner(long: &str, n: usize) -> usize {
    let very_long_line_of_source_code =
        "so that the excerpt is wider than a phone, and scrolls on its own without the page".len();
    assert!(n + very_long_line_of_source_code == 0, "no anvil: <script>document.title = 'run'</script> {long}");
    n
}

fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if environ.path() == "/favicon.ico" {
        start_response.start("404 Not Found", &[])?;
        return Ok(Body::empty());
    }
    let text = outer(&"unbroken".repeat(40));
    start_response.start("200 OK", &[])?;
    Ok(Body::from(text.to_string()))
}

/// Responds with the page of a failed build, until it is fixed.
fn broken(is_fixed: &AtomicBool, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if is_fixed.load(Ordering::SeqCst) {
        start_response.start("200 OK", &[("Content-Type", "text/html")])?;
        return Ok(Body::from("<title>fixed</title>"));
    }
    let output =
        "   Compiling app\n\x1b[1m\x1b[91merror[E0425]\x1b[0m: no `anvil` in this scope\n  \x1b[94m--> \x1b[0m\
                  src/lib.rs:3:5\n   |\n";
    let project = Project::new(env!("CARGO_MANIFEST_DIR"));
    let report = FailureReport::from_output("The newest code doesn't run", output.as_bytes(), &project);
    let rendered = Page::default().poll(Duration::from_millis(50)).render(&report, Format::Html);
    let fields: Vec<(&str, &str)> = rendered.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    start_response.start("503 Service Unavailable", &fields)?;
    Ok(Body::from(rendered.body))
}

/// A server in this process. Dropping the value stops it.
struct TestServer {
    url: String,
    handle: ShutdownHandle,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    fn start<A>(app: A) -> TestServer
    where
        A: Application + 'static,
    {
        let mut server = ThreadedWsgiServer::bind("127.0.0.1:0", app).unwrap();
        let url = format!("http://{}", server.local_addrs()[0]);
        let handle = server.shutdown_handle();
        let thread = Some(std::thread::spawn(move || server.serve_forever().unwrap()));
        TestServer { url, handle, thread }
    }

    fn with_pages() -> TestServer {
        let project = Project::new(env!("CARGO_MANIFEST_DIR"));
        let log = Arc::new(amboss_core::NoLog);
        TestServer::start(DebugPages::new(app).project(project).page(Page::default()).log(log))
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

#[test]
fn the_page_is_whole_at_two_widths_in_two_schemes() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = TestServer::with_pages();
    let mut backgrounds = Vec::new();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        browser.look(width, scheme);
        browser.open(&format!("{}/forge?token=hunter2&q={}", server.url, "x".repeat(300)));
        assert_eq!(browser.console_errors(), [""; 0], "{width} {scheme}");
        assert_eq!(browser.eval("document.documentElement.scrollWidth <= innerWidth"), true, "{width} {scheme}");
        // An element that is wider than the page would be cut off.
        let overflowing = "[...document.querySelectorAll('body *')].filter(it => !it.closest('pre, #status') && \
                           it.getBoundingClientRect().right > innerWidth + 1).map(it => it.outerHTML)";
        assert_eq!(browser.eval(overflowing), serde_json::json!([]), "{width} {scheme}");
        assert!(browser.eval("document.title").as_str().unwrap().starts_with("panic: no anvil: <script>"));
        backgrounds.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
    }
    assert!(backgrounds[0] != backgrounds[1] && backgrounds[0] == backgrounds[2] && backgrounds[1] == backgrounds[3]);
    assert_eq!(browser.eval("document.body.innerHTML.includes('hunter2')"), false);
}

#[test]
fn frames_of_the_project_are_open_and_those_of_libraries_are_folded() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = TestServer::with_pages();
    browser.look(1280, "light");
    browser.open(&server.url);
    let functions =
        browser.eval("[...document.querySelectorAll('.frame.project .function')].map(it => it.textContent)");
    let functions: Vec<&str> = functions.as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    assert!(functions.first() == Some(&"browser::inner") && functions.contains(&"browser::outer"), "{functions:?}");
    assert_eq!(functions.last(), Some(&"browser::app"), "{functions:?}");
    assert_eq!(browser.eval("[...document.querySelectorAll('.frame.project')].every(it => it.open)"), true);
    assert_eq!(browser.eval("[...document.querySelectorAll('.library')].some(it => it.open)"), false);
    assert_eq!(browser.eval("document.querySelectorAll('.library').length > 0"), true, "a frame of an iterator");
    let source = "document.querySelector('.frame.project .source')";
    assert_eq!(browser.eval(&format!("{source}.querySelectorAll('.line').length")), 5);
    assert_eq!(browser.eval(&format!("{source}.querySelectorAll('mark').length")), 1);
    let link = browser.eval("document.querySelector('.frame.project a.place').href");
    let file = concat!("vscode://file", env!("CARGO_MANIFEST_DIR"), "/tests/browser.rs:");
    assert!(link.as_str().unwrap().starts_with(file), "{link}");
}

#[test]
fn the_keyboard_goes_from_frame_to_frame_and_folds_them() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = TestServer::with_pages();
    browser.look(1280, "light");
    browser.open(&server.url);
    let is_open = "document.activeElement.closest('details').open";
    browser.press("j", "j");
    assert_eq!(browser.eval("document.activeElement.textContent.includes('browser::inner')"), true);
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!((browser.eval(outline), browser.eval(is_open)), ("solid".into(), true.into()));
    browser.press("Enter", "\r");
    browser.wait_until(&format!("!{is_open}"));
    browser.press("Enter", "\r");
    browser.wait_until(is_open);
    browser.press("j", "j");
    assert_eq!(browser.eval("document.activeElement.textContent.includes('browser::inner')"), false);
    browser.press("k", "k");
    assert_eq!(browser.eval("document.activeElement.textContent.includes('browser::inner')"), true);
    assert_eq!(browser.console_errors(), [""; 0]);
}

#[test]
fn the_buttons_copy_the_report_and_the_command() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = TestServer::with_pages();
    browser.look(390, "light");
    let permissions = serde_json::json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    for allowed in [true, false] {
        if allowed {
            browser.grant(permissions.clone());
        }
        browser.open(&format!("{}/?password=hunter2", server.url));
        if !allowed {
            // As on a phone on the network, where the page is no secure context.
            browser.eval("Object.defineProperty(navigator, 'clipboard', { value: undefined })");
            browser.eval("document.execCommand = () => { window.copied = getSelection().toString(); return true; }, 1");
        }
        for (id, start) in [("as-text", "panic: no anvil"), ("as-curl", "curl --globoff")] {
            let button = format!("document.querySelector('[data-copy={id}]')");
            assert_eq!(browser.eval(&format!("{button}.checkVisibility()")), true);
            browser.eval(&format!("{button}.click()"));
            browser.wait_until(&format!("{button}.textContent === 'Copied'"));
            let copied = browser.eval(if allowed { "navigator.clipboard.readText()" } else { "window.copied" });
            let copied = copied.as_str().unwrap();
            assert!(copied.starts_with(start) && !copied.contains("hunter2") && copied.contains("••••"), "{copied}");
        }
        assert_eq!(browser.console_errors(), [""; 0]);
    }
}

#[test]
fn the_page_is_readable_without_a_script() {
    let Some(mut browser) = Chromium::start() else { return };
    let server = TestServer::with_pages();
    browser.look(390, "light");
    browser.call("Emulation.setScriptExecutionDisabled", serde_json::json!({"value": true}));
    browser.open(&server.url);
    assert_eq!(browser.eval("[...document.querySelectorAll('button')].some(it => it.checkVisibility())"), false);
    assert_eq!(browser.eval("document.querySelector('mark.line').checkVisibility()"), true);
    assert_eq!(browser.eval("document.getElementById('as-text').closest('details') !== null"), true);
}

#[test]
fn a_page_of_a_failed_build_reloads_when_it_is_fixed() {
    let Some(mut browser) = Chromium::start() else { return };
    let is_fixed = Arc::new(AtomicBool::new(false));
    let fixed = is_fixed.clone();
    let server = TestServer::start(move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        broken(&fixed, start_response)
    });
    browser.look(1280, "dark");
    browser.open(&server.url);
    browser.eval("window.mark = 1");
    browser.wait_until("performance.getEntriesByType('resource').length >= 3");
    assert_eq!(browser.eval("window.mark"), 1, "the same failure does not reload the page");
    assert_eq!(browser.eval("document.querySelector('.output a').textContent"), "src/lib.rs:3:5");
    assert_eq!(browser.eval("document.querySelector('h1').textContent"), "error[E0425]: no `anvil` in this scope");
    assert_eq!(browser.console_errors(), [""; 0]);
    is_fixed.store(true, Ordering::SeqCst);
    browser.wait_for_title("fixed");
}
