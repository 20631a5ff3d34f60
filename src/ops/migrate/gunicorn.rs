//! The options of gunicorn (version 27): those of its command line, and the names in `gunicorn.conf.py`.

use super::draft::Draft;
use super::option::Takes::{Nothing, Value};
use super::option::{PeerOption, HTTP2, UWSGI};

type Opt = PeerOption<Draft>;

const SYSLOG: &str = "amboss writes to files and to stderr, which systemd passes on to its journal and to syslog";
const HOOK: &str =
    "amboss runs no code of a configuration file; move it into the application's module, which each worker \
                    imports";
const STRICT: &str = "amboss refuses such requests, because proxies and servers disagree about them";
const LOGGING: &str = "amboss does not use Python's logging; --access-logfile, --error-logfile, --log-format and \
                       --log-level say what is logged, and the application configures its own logging";
const STATSD: &str = "amboss sends no metrics yet; the access log in JSON (--log-format json) has the durations";
const SERVED_BY_RUSTLS: &str = "rustls does this for every connection";

const ASGI: &str = "amboss serves WSGI applications; leave ASGI applications to gunicorn";
const DIRTY: &str = "amboss has no workers for long tasks; a job queue such as Celery has these";
const CONTROL: &str = "signals control the server: HUP, TTIN, TTOU, USR1 and TERM";

/// All options.
pub(crate) const OPTIONS: &[Opt] = &[
    // Configuration
    Opt::same(&["wsgi_app"], "app"),
    Opt::not_needed(&["--check-config", "check_config"], Nothing, "amboss --check-config checks this file"),
    Opt::not_needed(&["--print-config", "print_config"], Nothing, "amboss --print-config prints it with all defaults"),
    Opt::nothing(
        &["--paste", "--paster", "paste"],
        Value,
        "amboss reads no Paste files; name a module that calls \
        paste.deploy.loadapp",
    ),
    Opt::nothing(&["--paste-global", "raw_paste_global_conf"], Value, "amboss reads no Paste files"),
    // Protocols
    Opt::converted(&["--protocol", "protocol"], "bind", |draft, values| {
        if values.first().is_some_and(|protocol| protocol != "http") {
            draft.missing(UWSGI);
        }
    }),
    Opt::nothing(&["--uwsgi-allow-from", "uwsgi_allow_ips"], Value, UWSGI),
    Opt::converted(&["--http-protocols", "http_protocols"], "bind", |draft, values| {
        if values.iter().any(|protocols| protocols.contains("h2") || protocols.contains("h3")) {
            draft.missing(HTTP2);
        }
    }),
    Opt::nothing(&["--http2-cleartext", "http2_cleartext"], Value, HTTP2),
    Opt::nothing(&["--http2-max-concurrent-streams", "http2_max_concurrent_streams"], Value, HTTP2),
    Opt::nothing(&["--http2-initial-window-size", "http2_initial_window_size"], Value, HTTP2),
    Opt::nothing(&["--http2-max-frame-size", "http2_max_frame_size"], Value, HTTP2),
    Opt::nothing(&["--http2-max-header-list-size", "http2_max_header_list_size"], Value, HTTP2),
    Opt::not_needed(&["--http-parser", "http_parser"], Value, "amboss has one parser, which needs no package"),
    Opt::nothing(
        &["--websocket-max-message-size", "websocket_max_message_size"],
        Value,
        "the library of the application, \
        such as simple-websocket, has that limit",
    ),
    Opt::nothing(&["--asgi-loop", "asgi_loop"], Value, ASGI),
    Opt::nothing(&["--asgi-lifespan", "asgi_lifespan"], Value, ASGI),
    Opt::nothing(&["--asgi-disconnect-grace-period", "asgi_disconnect_grace_period"], Value, ASGI),
    Opt::same(&["--root-path", "root_path"], "root-path"),
    // Addresses
    Opt::converted(&["--bind", "-b", "bind"], "bind", |draft, values| {
        let values: Vec<String> = values.iter().flat_map(|value| value.split(',')).map(address).collect();
        draft.set_all("bind", &values);
    }),
    Opt::same(&["--backlog", "backlog"], "backlog"),
    Opt::not_needed(&["--reuse-port", "reuse_port"], Nothing, "the workers share the sockets of their supervisor"),
    // Workers
    Opt::same(&["--workers", "-w", "workers"], "workers"),
    Opt::converted(&["--worker-class", "-k", "worker_class"], "worker-class", |draft, values| {
        draft.keep("class", values)
    }),
    Opt::same(&["--threads", "threads"], "threads"),
    Opt::same(&["--worker-connections", "worker_connections"], "worker-connections"),
    Opt::converted(&["--max-requests", "max_requests"], "max-requests", |draft, values| {
        unless_zero(draft, "max-requests", values)
    }),
    Opt::converted(&["--max-requests-jitter", "max_requests_jitter"], "max-requests-jitter", |draft, values| {
        unless_zero(draft, "max-requests-jitter", values);
    }),
    Opt::converted(&["--timeout", "-t", "timeout"], "timeout", |draft, values| unless_zero(draft, "timeout", values)),
    Opt::converted(&["--graceful-timeout", "graceful_timeout"], "graceful-timeout", |draft, values| {
        unless_zero(draft, "graceful-timeout", values);
    }),
    Opt::converted(&["--keep-alive", "keepalive"], "idle-timeout", |draft, values| {
        match values.first().map(String::as_str) {
            Some("0") => draft.missing("amboss keeps connections open; a proxy that does not want that closes them"),
            _ => draft.set_all("idle-timeout", values),
        }
    }),
    Opt::switch(&["--preload", "preload_app"], "preload"),
    Opt::not_needed(&["--worker-tmp-dir", "worker_tmp_dir"], Value, "workers send no heartbeats through files"),
    Opt::nothing(&["--dirty-app", "dirty_apps"], Value, DIRTY),
    Opt::nothing(&["--dirty-workers", "dirty_workers"], Value, DIRTY),
    Opt::nothing(&["--dirty-timeout", "dirty_timeout"], Value, DIRTY),
    Opt::nothing(&["--dirty-threads", "dirty_threads"], Value, DIRTY),
    Opt::nothing(&["--dirty-graceful-timeout", "dirty_graceful_timeout"], Value, DIRTY),
    Opt::nothing(&["--control-socket", "control_socket"], Value, CONTROL),
    Opt::nothing(&["--control-socket-mode", "control_socket_mode"], Value, CONTROL),
    Opt::not_needed(&["--no-control-socket", "control_socket_disable"], Nothing, CONTROL),
    // Limits
    Opt::converted(&["--limit-request-line", "limit_request_line"], "limit-request-line", |draft, values| {
        limit(draft, "limit-request-line", values);
    }),
    Opt::same(&["--limit-request-fields", "limit_request_fields"], "limit-request-fields"),
    Opt::converted(
        &["--limit-request-field_size", "limit_request_field_size"],
        "limit-request-field-size",
        |draft, values| limit(draft, "limit-request-field-size", values),
    ),
    // Process
    Opt::same(&["--chdir", "chdir"], "chdir"),
    Opt::nothing(
        &["--daemon", "-D", "daemon"],
        Nothing,
        "amboss stays in the foreground; systemd, or a shell with nohup, \
        runs it in the background",
    ),
    Opt::converted(&["--env", "-e", "raw_env"], "env", |draft, values| draft.set_all("env", values)),
    Opt::same(&["--pid", "-p", "pidfile"], "pid"),
    Opt::same(&["--user", "-u", "user"], "user"),
    Opt::same(&["--group", "-g", "group"], "group"),
    Opt::converted(&["--umask", "-m", "umask"], "umask", umask),
    Opt::not_needed(&["--initgroups", "initgroups"], Nothing, "the groups of --user are always set"),
    Opt::same(&["--name", "-n", "proc_name", "default_proc_name"], "name"),
    Opt::nothing(&["--pythonpath", "pythonpath"], Value, "set PYTHONPATH in the environment, or --chdir"),
    Opt::converted(&["tmp_upload_dir"], "body-directory", |draft, values| draft.set_all("body-directory", values)),
    // Reloading
    Opt::switch(&["--reload", "reload"], "reload"),
    Opt::converted(&["--reload-engine", "reload_engine"], "reloader-type", |draft, values| {
        let engine = match values.first().map(String::as_str) {
            Some("poll") => "stat",
            Some("inotify") => "notify",
            _ => "auto",
        };
        draft.set("reloader-type", engine);
    }),
    Opt::same(&["--reload-extra-file", "reload_extra_files"], "extra-files"),
    Opt::nothing(&["--spew", "spew"], Nothing, "python -m trace prints the lines that a program runs"),
    // Log
    Opt::same(&["--access-logfile", "accesslog"], "access-logfile"),
    Opt::same(&["--error-logfile", "--log-file", "errorlog"], "error-logfile"),
    Opt::same(&["--log-level", "loglevel"], "log-level"),
    Opt::same(&["--access-logformat", "access_log_format"], "access-log-format"),
    Opt::nothing(&["--log-config", "logconfig"], Value, LOGGING),
    Opt::nothing(&["--log-config-json", "logconfig_json"], Value, LOGGING),
    Opt::nothing(&["logconfig_dict"], Value, LOGGING),
    Opt::nothing(&["--logger-class", "logger_class"], Value, LOGGING),
    Opt::nothing(&["--log-syslog", "syslog"], Nothing, SYSLOG),
    Opt::nothing(&["--log-syslog-to", "syslog_addr"], Value, SYSLOG),
    Opt::nothing(&["--log-syslog-prefix", "syslog_prefix"], Value, SYSLOG),
    Opt::nothing(&["--log-syslog-facility", "syslog_facility"], Value, SYSLOG),
    Opt::not_needed(&["--disable-redirect-access-to-syslog", "disable_redirect_access_to_syslog"], Nothing, SYSLOG),
    Opt::not_needed(
        &["--capture-output", "capture_output"],
        Nothing,
        "stdout and stderr of the application stay what they \
        are; redirect them in the shell or in the unit of systemd",
    ),
    Opt::not_needed(
        &["--enable-stdio-inheritance", "-R", "enable_stdio_inheritance"],
        Nothing,
        "workers inherit stdout \
        and stderr",
    ),
    Opt::nothing(&["--statsd-host", "statsd_host"], Value, STATSD),
    Opt::nothing(&["--enable-backlog-metric", "enable_backlog_metric"], Nothing, STATSD),
    Opt::nothing(&["--statsd-prefix", "statsd_prefix"], Value, STATSD),
    Opt::nothing(&["--dogstatsd-tags", "dogstatsd_tags"], Value, STATSD),
    // TLS
    Opt::same(&["--certfile", "certfile"], "cert"),
    Opt::same(&["--keyfile", "keyfile"], "key"),
    Opt::converted(&["--ca-certs", "ca_certs"], "client-ca", |draft, values| draft.keep("ca", values)),
    Opt::converted(&["--cert-reqs", "cert_reqs"], "client-verify", |draft, values| draft.keep("verify", values)),
    Opt::converted(&["--ciphers", "ciphers"], "ciphers", |draft, values| draft.set_all("ciphers", values)),
    Opt::converted(&["--ssl-version", "ssl_version"], "tls-min", |draft, _| {
        draft.not_needed("TLS 1.2 and 1.3 are served; tls-min = \"1.3\" excludes TLS 1.2");
    }),
    Opt::not_needed(&["--suppress-ragged-eofs", "suppress_ragged_eofs"], Nothing, SERVED_BY_RUSTLS),
    Opt::not_needed(&["--do-handshake-on-connect", "do_handshake_on_connect"], Nothing, SERVED_BY_RUSTLS),
    Opt::nothing(&["ssl_context"], Value, "amboss.run_simple(…, ssl_context=…) takes an ssl.SSLContext"),
    // Proxies
    Opt::same(&["--forwarded-allow-ips", "forwarded_allow_ips"], "forwarded-allow-ips"),
    Opt::converted(&["--proxy-protocol", "proxy_protocol"], "proxy-protocol", |draft, values| {
        if values.first().is_some_and(|value| value != "false" && value != "off") {
            draft.set("proxy-protocol", "required");
        }
    })
    .without_value(),
    Opt::nothing(
        &["--proxy-allow-from", "proxy_allow_ips"],
        Value,
        "proxies of --forwarded-allow-ips are trusted for the \
        PROXY protocol as well",
    ),
    Opt::nothing(
        &["secure_scheme_headers"],
        Value,
        "amboss reads X-Forwarded-Proto, or Forwarded with \
        --forwarded-rfc7239; have the proxy send one of them",
    ),
    Opt::nothing(
        &["--forwarder-headers", "forwarder_headers"],
        Value,
        "amboss drops fields with an underscore; have the \
        proxy send X-Forwarded-Prefix (--forwarded-hops prefix=1), or use --root-path",
    ),
    // Strictness
    Opt::not_needed(&["--no-sendfile", "sendfile"], Nothing, "files are sent by the system wherever it can do that"),
    Opt::nothing(&["--permit-obsolete-folding", "permit_obsolete_folding"], Nothing, STRICT),
    Opt::nothing(&["--strip-header-spaces", "strip_header_spaces"], Nothing, STRICT),
    Opt::nothing(&["--permit-unconventional-http-version", "permit_unconventional_http_version"], Nothing, STRICT),
    Opt::not_needed(
        &["--permit-unconventional-http-method", "permit_unconventional_http_method"],
        Nothing,
        "every token is \
        accepted as a method",
    ),
    Opt::nothing(
        &["--casefold-http-method", "casefold_http_method"],
        Nothing,
        "methods are case-sensitive (RFC 9110 §9.1)",
    ),
    Opt::not_needed(&["--header-map", "header_map"], Value, "fields with an underscore are dropped"),
    // Hooks
    Opt::nothing(&["on_starting"], Value, HOOK),
    Opt::nothing(&["on_reload"], Value, HOOK),
    Opt::nothing(&["when_ready"], Value, HOOK),
    Opt::nothing(&["pre_fork"], Value, HOOK),
    Opt::nothing(&["post_fork"], Value, HOOK),
    Opt::nothing(&["post_worker_init"], Value, HOOK),
    Opt::nothing(&["worker_int"], Value, HOOK),
    Opt::nothing(&["worker_abort"], Value, HOOK),
    Opt::nothing(&["pre_exec"], Value, HOOK),
    Opt::nothing(&["pre_request"], Value, HOOK),
    Opt::nothing(&["post_request"], Value, HOOK),
    Opt::nothing(&["child_exit"], Value, HOOK),
    Opt::nothing(&["worker_exit"], Value, HOOK),
    Opt::nothing(&["nworkers_changed"], Value, HOOK),
    Opt::nothing(&["on_exit"], Value, HOOK),
    Opt::nothing(&["on_dirty_starting"], Value, HOOK),
    Opt::nothing(&["dirty_post_fork"], Value, HOOK),
    Opt::nothing(&["dirty_worker_init"], Value, HOOK),
    Opt::nothing(&["dirty_worker_exit"], Value, HOOK),
];

/// Adds what gunicorn does without an option, where amboss would do something else, and joins options that belong
/// together.
pub(super) fn finish(draft: &mut Draft) {
    if !draft.has("bind") {
        draft.set("bind", "127.0.0.1:8000");
        draft.comment("bind", "gunicorn's default. Without a setting, amboss serves on port 5000, or on PORT.");
    }
    if let Some(app) = draft.value("app").filter(|app| !app.contains(':')).map(str::to_owned) {
        draft.set("app", format!("{app}:application"));
    }
    worker_class(draft);
    client_certificates(draft);
    for (name, value, comment) in [
        ("timeout", "30", "gunicorn's default. Without a setting, amboss replaces no worker."),
        ("graceful-timeout", "30", "gunicorn's default. amboss waits for 10 seconds."),
        ("backlog", "2048", "gunicorn's default. amboss has 1024."),
    ] {
        if !draft.has(name) && draft.kept(name).is_none() {
            draft.set(name, value);
            draft.comment(name, comment);
        }
    }
    if !draft.has("access-logfile") {
        draft.set("no-access-log", "true");
        draft.comment("no-access-log", "gunicorn logs no requests without an option. amboss prints them to stderr.");
    }
}

fn worker_class(draft: &mut Draft) {
    let class = draft.kept("class").unwrap_or_else(|| "sync".into());
    let threads: u32 = draft.value("threads").and_then(|threads| threads.parse().ok()).unwrap_or(1);
    match class.rsplit('.').next().unwrap_or(&class).trim_end_matches("Worker").to_ascii_lowercase().as_str() {
        // gunicorn takes its threaded workers for more than one thread.
        "sync" if threads > 1 => {}
        "sync" => draft.set_one_thread("A sync worker runs one request at a time."),
        "gthread" | "thread" => {
            draft.set("worker-class", "threads");
            if threads == 1 {
                draft.set_one_thread("Without the number of threads, gunicorn has one.");
            }
        }
        "gevent" | "geventpywsgi" | "gevent_pywsgi" | "gevent_wsgi" => greenlets(draft, "gevent"),
        "eventlet" => greenlets(draft, "eventlet"),
        _ => draft.remark(
            "worker class",
            &format!(
                "amboss serves WSGI applications in threads, or in greenlets of gevent or eventlet; {class:?} is none of \
                 these"
            ),
        ),
    }
}

fn greenlets(draft: &mut Draft, class: &str) {
    draft.set("worker-class", class);
    if draft.has("threads") {
        draft.unset("threads");
        draft.remark("threads", "greenlets run in one thread, in gunicorn as well");
    }
}

/// gunicorn asks for certificates only if `cert_reqs` says so.
fn client_certificates(draft: &mut Draft) {
    let verify = draft.kept("verify").unwrap_or_else(|| "0".into());
    let Some(authority) = draft.kept("ca") else {
        if verify != "0" {
            draft.remark("cert_reqs", "name the file of the authorities (ca_certs), as client-ca");
        }
        return;
    };
    match verify.as_str() {
        "0" => {
            draft.remark("ca_certs", "gunicorn asks for no certificate without cert_reqs; client-ca would ask for one")
        }
        "1" | "2" => {
            draft.set("client-ca", authority);
            draft.set("client-verify", if verify == "1" { "optional" } else { "required" });
        }
        _ => draft.remark("cert_reqs", &format!("{verify:?} is neither 0, 1 nor 2; write client-ca and client-verify")),
    }
}

/// Adds gunicorn's own port to an address without one.
fn address(text: &str) -> String {
    let text = text.trim().strip_prefix("tcp://").unwrap_or(text.trim());
    let has_port =
        text.starts_with("unix:") || text.starts_with("fd://") || text.rsplit(']').next().unwrap_or("").contains(':');
    if has_port {
        return text.to_owned();
    }
    format!("{text}:8000")
}

fn unless_zero(draft: &mut Draft, name: &'static str, values: &[String]) {
    if values.first().is_some_and(|value| value == "0") {
        draft.unset(name);
        draft.keep(name, values);
        return draft.not_needed("0 stands for none, as without the setting here");
    }
    draft.set_all(name, values);
}

fn limit(draft: &mut Draft, name: &'static str, values: &[String]) {
    if values.first().is_some_and(|value| value == "0") {
        return draft
            .missing("0 stands for no limit, which amboss does not have; give the largest size that you expect");
    }
    draft.set_all(name, values);
}

/// Converts a umask: gunicorn takes a number for octal if it begins with a zero.
fn umask(draft: &mut Draft, values: &[String]) {
    let value = values.first().map_or("", String::as_str);
    match value.parse::<u32>() {
        Ok(decimal) if !value.starts_with('0') => draft.set("umask", format!("{decimal:03o}")),
        _ => draft.set("umask", value),
    }
}
