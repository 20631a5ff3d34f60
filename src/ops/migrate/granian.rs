//! The options of granian (version 2).

use super::draft::Draft;
use super::option::Takes::{Nothing, Value};
use super::option::{PeerOption, HTTP2};

type Opt = PeerOption<Draft>;

const RUNTIME: &str = "amboss has no async runtime; --threads is the number of requests that run at once";
const METRICS: &str = "amboss has no metrics yet; the access log in JSON (--log-format json) has the durations";

/// Switches for what is off anyway.
const DEFAULTS: &[&str] = &[
    "--no-factory",
    "--no-http1-pipeline-flush",
    "--no-http2-adaptive-window",
    "--no-metrics",
    "--no-reload",
    "--no-reload-ignore-worker-failure",
    "--no-respawn-failed-workers",
    "--no-ssl-client-verify",
];

/// All options.
pub(super) const OPTIONS: &[Opt] = &[
    Opt::converted(&["--interface"], "app", |draft, values| {
        draft.keep("interface", values);
        if values.first().is_none_or(|interface| interface != "wsgi") {
            draft.missing("amboss serves WSGI applications; leave ASGI and RSGI applications to granian");
        }
    }),
    Opt::converted(&["--host"], "bind", |draft, values| draft.keep("host", values)),
    Opt::converted(&["--port"], "bind", |draft, values| draft.keep("port", values)),
    Opt::converted(&["--uds"], "bind", |draft, values| {
        let path = values.first().map_or("", String::as_str);
        draft.set("bind", format!("unix:{path}"));
    }),
    Opt::same(&["--uds-permissions"], "unix-mode"),
    Opt::same(&["--workers"], "workers"),
    Opt::same(&["--blocking-threads"], "threads"),
    Opt::not_needed(&["--blocking-threads-idle-timeout"], Value, "threads end when they have been idle"),
    Opt::not_needed(&["--runtime-threads"], Value, RUNTIME),
    Opt::not_needed(&["--runtime-blocking-threads"], Value, RUNTIME),
    Opt::not_needed(&["--runtime-mode"], Value, RUNTIME),
    Opt::not_needed(&["--loop"], Value, RUNTIME),
    Opt::not_needed(&["--task-impl"], Value, RUNTIME),
    Opt::same(&["--backlog"], "backlog"),
    Opt::not_needed(
        &["--backpressure"],
        Value,
        "requests beyond --threads wait for at most --queue-timeout, and \
        --limit-connections bounds the connections",
    ),
    Opt::converted(&["--http"], "http", |draft, values| {
        if values.first().is_some_and(|version| version == "2") {
            draft.missing(HTTP2);
        }
    }),
    Opt::not_needed(&["--http1-buffer-size"], Value, "--limit-request-line and --limit-header-section bound a head"),
    Opt::not_needed(&["--http1-keep-alive"], Nothing, "connections are kept open"),
    Opt::nothing(&["--no-http1-keep-alive"], Nothing, "amboss keeps connections open, for at most --idle-timeout"),
    Opt::converted(&["--http1-header-read-timeout"], "head-timeout", |draft, values| {
        match values.first().and_then(|value| value.parse::<f64>().ok()) {
            // granian takes milliseconds.
            Some(milliseconds) => draft.set("head-timeout", (milliseconds / 1000.0).to_string()),
            None => draft.missing("this is no number of milliseconds"),
        }
    }),
    Opt::not_needed(&["--http1-pipeline-flush"], Nothing, "responses of pipelined requests are written together"),
    Opt::nothing(
        &["--ws", "--no-ws"],
        Nothing,
        "WSGI has no WebSockets; libraries such as simple-websocket take the \
        connection over (environ[\"werkzeug.socket\"])",
    ),
    Opt::same(&["--ssl-certificate"], "cert"),
    Opt::same(&["--ssl-keyfile"], "key"),
    Opt::nothing(&["--ssl-keyfile-password"], Value, "decrypt the key first: openssl pkey -in KEY -out PLAIN"),
    Opt::converted(&["--ssl-protocol-min"], "tls-min", |draft, values| {
        draft.set("tls-min", if values.first().is_some_and(|version| version == "tls1.3") { "1.3" } else { "1.2" });
    }),
    Opt::same(&["--ssl-ca"], "client-ca"),
    Opt::nothing(&["--ssl-crl"], Value, "amboss reads no lists of revoked certificates"),
    Opt::converted(&["--ssl-client-verify"], "client-verify", |draft, _| draft.set("client-verify", "required"))
        .without_value(),
    Opt::same(&["--url-path-prefix"], "root-path"),
    Opt::not_needed(&["--respawn-failed-workers"], Nothing, "a worker that dies is replaced"),
    Opt::not_needed(&["--respawn-interval"], Value, "workers that die repeatedly are replaced after growing pauses"),
    Opt::nothing(&["--workers-lifetime"], Value, "--max-requests replaces workers after a number of requests"),
    Opt::nothing(&["--workers-max-rss"], Value, "--max-requests replaces workers after a number of requests"),
    Opt::nothing(&["--rss-sample-interval"], Value, "amboss does not watch the memory of workers"),
    Opt::nothing(&["--rss-samples"], Value, "amboss does not watch the memory of workers"),
    Opt::same(&["--workers-kill-timeout"], "graceful-timeout"),
    Opt::switch(&["--factory"], "factory"),
    Opt::same(&["--working-dir"], "chdir"),
    Opt::same(&["--env-files"], "env-file"),
    Opt::converted(&["--static-path-mount"], "static", |draft, values| draft.keep("mount", values)),
    Opt::converted(&["--static-path-route"], "static", |draft, values| draft.keep("route", values)),
    Opt::converted(&["--static-path-expires"], "cache", |draft, values| draft.set_all("cache", values)),
    Opt::nothing(&["--static-path-dir-to-file"], Value, "a folder is answered with its index.html"),
    Opt::switch(&["--reload"], "reload"),
    Opt::same(&["--reload-paths"], "extra-files"),
    Opt::same(&["--reload-ignore-dirs"], "exclude-patterns"),
    Opt::same(&["--reload-ignore-patterns"], "exclude-patterns"),
    Opt::same(&["--reload-ignore-paths"], "exclude-patterns"),
    Opt::not_needed(&["--reload-tick"], Value, "changes are reported by the system"),
    Opt::not_needed(
        &["--reload-ignore-worker-failure"],
        Nothing,
        "the old code keeps serving while the new one is broken",
    ),
    Opt::same(&["--process-name"], "name"),
    Opt::same(&["--pid-file"], "pid"),
    Opt::not_needed(&["--log"], Nothing, "the log is on"),
    Opt::converted(&["--no-log"], "log-level", |draft, _| draft.set("log-level", "critical")).without_value(),
    Opt::converted(&["--log-level"], "log-level", |draft, values| {
        let level = match values.first().map(String::as_str) {
            Some("critical") => "critical",
            Some("error") => "error",
            Some("warning" | "warn") => "warning",
            _ => "info",
        };
        draft.set("log-level", level);
    }),
    Opt::nothing(
        &["--log-config"],
        Value,
        "amboss does not use Python's logging; see --access-logfile and --log-format",
    ),
    Opt::converted(&["--access-log"], "access-logfile", |draft, _| draft.unset("no-access-log")).without_value(),
    Opt::not_needed(&["--no-access-log"], Nothing, "no-access-log = true says so"),
    Opt::nothing(
        &["--access-log-fmt"],
        Value,
        "--access-log-format takes gunicorn's format, as in '%(h)s \"%(r)s\" %(s)s'",
    ),
    Opt::nothing(&["--http2-adaptive-window"], Nothing, HTTP2),
    Opt::nothing(&["--http2-initial-connection-window-size"], Value, HTTP2),
    Opt::nothing(&["--http2-initial-stream-window-size"], Value, HTTP2),
    Opt::nothing(&["--http2-keep-alive-interval"], Value, HTTP2),
    Opt::nothing(&["--http2-keep-alive-timeout"], Value, HTTP2),
    Opt::nothing(&["--http2-max-concurrent-streams"], Value, HTTP2),
    Opt::nothing(&["--http2-max-frame-size"], Value, HTTP2),
    Opt::nothing(&["--http2-max-headers-size"], Value, HTTP2),
    Opt::nothing(&["--http2-max-send-buffer-size"], Value, HTTP2),
    Opt::not_needed(DEFAULTS, Nothing, "it is off without an option, here as there"),
    Opt::nothing(&["--metrics-scrape-interval"], Value, METRICS),
    Opt::nothing(&["--metrics"], Nothing, METRICS),
    Opt::nothing(&["--metrics-address"], Value, METRICS),
    Opt::nothing(&["--metrics-port"], Value, METRICS),
];

/// Sets what granian does without an option, where amboss would do something else.
pub(super) fn begin(draft: &mut Draft) {
    draft.set("no-access-log", "true");
}

/// Joins options that belong together.
pub(super) fn finish(draft: &mut Draft) {
    if !draft.has("bind") {
        let host = draft.kept("host").unwrap_or_else(|| "127.0.0.1".into());
        let port = draft.kept("port").unwrap_or_else(|| "8000".into());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        draft.set("bind", format!("{host}:{port}"));
    }
    if let Some(mount) = draft.kept("mount") {
        let route = draft.kept("route").unwrap_or_else(|| "/static".into());
        draft.set("static", format!("{route}={mount}"));
    }
    if draft.kept("interface").is_none() {
        draft.remark("--interface", "granian's default is RSGI; amboss serves WSGI applications");
    }
    if draft.has("cert") && !draft.has("tls-min") {
        draft.set("tls-min", "1.3");
        draft.comment("tls-min", "granian's default. amboss serves TLS 1.2 as well.");
    }
    if draft.has("no-access-log") {
        draft.comment("no-access-log", "granian logs no requests without an option. amboss prints them to stderr.");
    }
    if draft.has("client-ca") && !draft.has("client-verify") {
        draft.set("client-verify", "optional");
    }
}
