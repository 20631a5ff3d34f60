//! The built-in development application: a page that shows what the server passes to an application, as
//! `werkzeug.testapp` did.

use std::fmt::Write;
use std::io::Read;
use std::sync::Arc;

use amboss_core::{AppError, Application, Body, Environ, Settings, StartResponse};
use html_escape::encode_text;
use serde_json::Value;

/// An application that shows the environ, the server's settings and what to try next: as a page, or as JSON for clients
/// that ask for it (`Accept: application/json`).
#[derive(Clone, Debug)]
pub struct DevApp {
    settings: Arc<Vec<(&'static str, String)>>,
}

/// The maximum number of bytes of a request body that are shown.
const SHOWN_BODY: u64 = 4096;

impl DevApp {
    /// Makes the application for a server with these settings. `concurrency` describes in words how requests run.
    pub fn new(settings: &Settings, concurrency: &str) -> DevApp {
        let (limits, timeouts) = (&settings.limits, &settings.timeouts);
        let body = match limits.body {
            Some(limit) => format!("at most {limit} bytes (413)"),
            None => format!("at most {} bytes (413), or any number if it is streamed", limits.collected_body),
        };
        let settings = vec![
            ("requests run", concurrency.to_owned()),
            ("request line", format!("at most {} bytes (414)", limits.head.request_line)),
            (
                "header section",
                format!("at most {} bytes and {} fields (431)", limits.head.header_section, limits.head.fields),
            ),
            ("request body", body),
            ("connections", format!("at most {}", limits.connections)),
            ("whole head within", format!("{:?} (408)", timeouts.head)),
            ("idle connections kept", format!("{:?}", timeouts.idle)),
            (
                "slow bodies and readers",
                format!(
                    "{:?} without progress, or less than {} bytes/s after {:?}",
                    timeouts.stalled, timeouts.minimum_rate, timeouts.grace
                ),
            ),
            ("running requests at a stop", format!("{:?}", timeouts.shutdown)),
            ("leniency", format!("{:?}", settings.leniency)),
        ];
        DevApp { settings: Arc::new(settings) }
    }

    fn page(&self, environ: &[(String, String)], body: &str) -> String {
        let value = |name| environ.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let host = value("HTTP_HOST").unwrap_or("localhost:5000");
        let scheme = value("wsgi.url_scheme").unwrap_or("http");
        let mut page = String::from(HEAD);
        page.push_str(
            "<h1>amboss works</h1><p>This is the built-in development application. It shows what the server \
             passes to an application for the request that you have just made.</p>",
        );
        page.push_str("<h2>Try next</h2><ul>");
        for (command, meaning) in [
            (format!("curl {scheme}://{host}/ -H 'Accept: application/json'"), "the same as JSON"),
            (format!("curl {scheme}://{host}/any/path?query -d 'a body'"), "another request"),
            ("amboss .".into(), "serve the application of the current directory"),
            ("amboss --help".into(), "addresses, processes, log formats"),
            ("cargo run -p amboss-core --example hello".into(), "how an application of your own starts"),
        ] {
            let _ = write!(page, "<li><code>{}</code> {meaning}</li>", encode_text(&command));
        }
        page.push_str("</ul>");
        table(&mut page, "Server", self.settings.iter().map(|(key, value)| (*key, value.as_str())));
        table(&mut page, "Environ", environ.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        if !body.is_empty() {
            let _ = write!(page, "<h2>Request body</h2><pre>{}</pre>", encode_text(body));
        }
        page.push_str("</main></body></html>\n");
        page
    }

    fn json(&self, environ: &[(String, String)], body: &str) -> String {
        let environ: Value = environ.iter().cloned().collect();
        let server: Value = self.settings.iter().cloned().collect();
        format!("{:#}\n", serde_json::json!({ "environ": environ, "server": server, "body": body }))
    }
}

impl Application for DevApp {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let mut body = Vec::new();
        environ.input().take(SHOWN_BODY).read_to_end(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        let mut pairs: Vec<(String, String)> = environ
            .iter()
            .map(|(key, value)| (key.into_owned(), String::from_utf8_lossy(&value).into_owned()))
            .collect();
        pairs.sort();
        let accept = environ.text("HTTP_ACCEPT");
        let (kind, text) = if accept.contains("application/json") && !accept.contains("text/html") {
            ("application/json", self.json(&pairs, &body))
        } else {
            ("text/html; charset=utf-8", self.page(&pairs, &body))
        };
        // The page repeats what the client sent, so the only script that may run in it is the one that reloads it.
        let policy = if environ.get(crate::live_reload::ENVIRON_KEY).is_some() {
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'"
        } else {
            "default-src 'none'; style-src 'unsafe-inline'"
        };
        let fields = [("Content-Type", kind), ("Cache-Control", "no-store"), ("Content-Security-Policy", policy)];
        start_response.start("200 OK", &fields)?;
        Ok(Body::from(text))
    }
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>amboss</title>\
<meta name=\"viewport\" content=\"width=device-width\"><style>\
body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1c1917;background:#fafaf9}\
main{max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.8rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
table{border-collapse:collapse;width:100%;background:#fff}\
td,th{border:1px solid #e7e5e4;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
th{white-space:nowrap;font-weight:600;width:1%}td,code,pre{font-family:ui-monospace,monospace;font-size:.85rem}\
pre{background:#fff;border:1px solid #e7e5e4;padding:.6rem;overflow:auto}\
code{background:#f5f5f4;padding:.1rem .3rem}\
@media(prefers-color-scheme:dark){body{background:#1c1917;color:#e7e5e4}table,pre{background:#292524}\
td,th,pre{border-color:#44403c}code{background:#44403c}}\
</style></head><body><main>";

fn table<'a>(page: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    let _ = write!(page, "<h2>{title}</h2><table>");
    for (key, value) in rows {
        let _ = write!(page, "<tr><th>{}</th><td>{}</td></tr>", encode_text(key), encode_text(value));
    }
    page.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_input_is_escaped() {
        let app = DevApp::new(&Settings::default(), "one request at a time");
        let environ = [("HTTP_X".to_owned(), "<script>\"'&\u{1b}".to_owned())];
        let page = app.page(&environ, "<b>");
        assert!(page.contains("&lt;script&gt;\"'&amp;") && page.contains("<pre>&lt;b&gt;</pre>"));
        assert!(!page.contains("<script") && !page.contains("<b>"));
        assert!(app.json(&environ, "\"\n").contains("\"HTTP_X\": \"<script>\\\"'&\\u001b\""));
    }
}
