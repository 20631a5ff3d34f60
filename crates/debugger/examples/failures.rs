//! A server whose pages fail, each in another way: `cargo run -p amboss-debugger --example failures [address]`.

use std::fmt;

use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};
use amboss_debugger::{DebugPages, FailureReport, Format, Page, Project};
use serde_json::json;

#[derive(Debug)]
struct OrderError {
    order: u32,
    source: std::num::ParseIntError,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {} can't be priced", self.order)
    }
}

impl std::error::Error for OrderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn price(order: u32) -> Result<u32, OrderError> {
    "twelve".parse().map_err(|source| OrderError { order, source })
}

fn total(prices: &[u32], count: usize) -> u32 {
    let first = &prices[..count];
    first.iter().sum()
}

fn check(prices: &[u32]) -> String {
    assert_eq!(prices, [10, 25], "the prices of order 17 differ");
    String::new()
}

fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let text = match environ.path().as_bytes() {
        b"/error" => price(17)?.to_string(),
        b"/panic" => [3, 4].iter().map(|&count| total(&[10, 20, 30], count)).sum::<u32>().to_string(),
        b"/assert" => check(&[10, 20]),
        b"/broken" => return broken_build(start_response),
        b"/exception" => return exception(start_response),
        _ => "Try /error, /panic, /assert, /broken and /exception.\n".to_owned(),
    };
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from(text))
}

/// The page of a failed build, which a supervisor serves in place of the application.
fn broken_build(start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let output = "\x1b[1m\x1b[32m   Compiling\x1b[0m shop v0.1.0\n\
        \x1b[1m\x1b[91merror[E0308]\x1b[0m\x1b[1m: mismatched types\x1b[0m\n  \x1b[1m\x1b[94m--> \x1b[0mexamples/failures.rs:28:5\n   \
        \x1b[1m\x1b[94m|\x1b[0m\n\x1b[1m\x1b[94m27\x1b[0m \x1b[1m\x1b[94m|\x1b[0m fn price(order: u32) -> Result<u32, OrderError> {\n   \
        \x1b[1m\x1b[94m|\x1b[0m                            \x1b[1m\x1b[94m-----------------------\x1b[0m \x1b[1m\x1b[94mexpected because of this\x1b[0m\n\
        \n\x1b[1m\x1b[91merror\x1b[0m\x1b[1m: could not compile `shop` (bin \"shop\") due to 1 previous error\x1b[0m\n";
    let report = FailureReport::from_output("The newest code doesn't run", output.as_bytes(), &project());
    show(&report, start_response)
}

/// The page of an exception that the runtime of another language has collected.
fn exception(start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let document = json!({"versions": {"python": "3.13.1", "flask": "3.1.0"}, "causes": [
        {"kind": "RuntimeError", "message": "the order can't be priced", "frames": [
            {"file": file!(), "line": 32, "function": "price", "locals": [
                ["order", "Order(id=17, lines=[Line('anvil', 2), Line('hammer', 1)])"],
                ["api_key", "'4f1c'"],
                ["request", "<Request 'http://localhost/orders/17' [GET]>"],
            ]},
            {"file": "/usr/lib/python3/site-packages/flask/app.py", "line": 917, "function": "dispatch_request"},
            {"file": "/usr/lib/python3/site-packages/flask/app.py", "line": 1511, "function": "wsgi_app"},
        ]},
        {"kind": "KeyError", "message": "'anvil'", "is_context": true, "frames": [
            {"file": file!(), "line": 38, "function": "lookup", "locals": [["name", "'anvil'"]]},
        ]},
    ]});
    show(&FailureReport::from_json(&document, &project())?, start_response)
}

/// Responds with the page, whatever the client accepts.
fn show(report: &FailureReport, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let rendered = Page::from_env().render(report, Format::Html);
    let fields: Vec<(&str, &str)> = rendered.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    start_response.start("503 Service Unavailable", &fields)?;
    Ok(Body::from(rendered.body))
}

fn project() -> Project {
    Project::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() -> Result<(), amboss_core::ServeError> {
    let app = DebugPages::new(app).project(project());
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".to_owned());
    let mut server = ThreadedWsgiServer::bind(&address, app)?;
    println!("http://{}/", server.local_addrs()[0]);
    server.serve_forever()
}
