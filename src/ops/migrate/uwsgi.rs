//! The options of uWSGI, as they stand in an `uwsgi.ini`.

use super::draft::Draft;
use super::option::Takes::Value;
use super::option::{PeerOption, UWSGI};

type Opt = PeerOption<Draft>;

const MASTER: &str = "a supervisor runs where one is needed";
const INTERNAL: &str =
    "amboss has neither a cache, nor spoolers, mules or timers; a job queue such as Celery has these";
const ROUTES: &str = "amboss has no rules for routing; nginx in front of it, or the application, has them";
const NEEDLESS: &str = "amboss does so anyway";

/// All options. Each has a value; that of a switch is `true` or `1`.
pub(super) const OPTIONS: &[Opt] = &[
    Opt::converted(&["http", "http-socket"], "bind", bind),
    Opt::converted(&["socket", "uwsgi-socket", "s"], "bind", |draft, values| {
        bind(draft, values);
        draft.comment("bind", UWSGI);
    }),
    Opt::converted(&["https", "https-socket"], "cert", |draft, values| {
        // `https = address,certificate,key`
        let parts: Vec<&str> = values.first().map_or(Vec::new(), |value| value.split(',').collect());
        if let [address, cert, key, ..] = parts[..] {
            bind(draft, &[address.to_owned()]);
            draft.set("cert", cert);
            draft.set("key", key);
        } else {
            draft.missing("write bind, cert and key");
        }
    }),
    Opt::converted(&["module", "wsgi", "w"], "app", |draft, values| draft.keep("module", values)),
    Opt::converted(&["wsgi-file", "file"], "app", |draft, values| draft.keep("module", values)),
    Opt::converted(&["callable"], "app", |draft, values| draft.keep("callable", values)),
    Opt::nothing(&["mount"], Value, "werkzeug.middleware.dispatcher.DispatcherMiddleware, or --vhost for another host"),
    Opt::same(&["chdir"], "chdir"),
    Opt::same(&["chdir2"], "chdir"),
    Opt::converted(&["home", "virtualenv", "venv", "H"], "python", |draft, values| draft.set_all("python", values)),
    Opt::nothing(&["pythonpath", "python-path", "pp"], Value, "set PYTHONPATH in the environment, or --chdir"),
    Opt::same(&["env"], "env"),
    Opt::same(&["processes", "workers", "p"], "workers"),
    Opt::same(&["threads"], "threads"),
    Opt::converted(&["gevent"], "worker-class", |draft, values| {
        draft.set("worker-class", "gevent");
        draft.set_all("worker-connections", values);
    }),
    Opt::same(&["harakiri"], "timeout"),
    Opt::same(&["max-requests"], "max-requests"),
    Opt::same(&["max-requests-delta"], "max-requests-jitter"),
    Opt::nothing(&["max-worker-lifetime"], Value, "--max-requests replaces workers after a number of requests"),
    Opt::nothing(
        &["reload-on-rss", "evil-reload-on-rss"],
        Value,
        "--max-requests replaces workers after a number of \
        requests",
    ),
    Opt::same(&["reload-mercy", "worker-reload-mercy"], "graceful-timeout"),
    Opt::converted(&["lazy-apps", "lazy"], "preload", |draft, values| draft.keep("lazy", values)),
    Opt::same(&["listen", "l"], "backlog"),
    Opt::converted(&["buffer-size", "b"], "limit-header-section", |draft, values| {
        draft.set_all("limit-header-section", values);
    }),
    Opt::same(&["limit-post"], "limit-body"),
    Opt::not_needed(&["post-buffering"], Value, "bodies are complete before the application is called"),
    Opt::same(&["http-timeout", "socket-timeout", "so-timeout"], "stalled-timeout"),
    Opt::converted(&["http-keepalive"], "idle-timeout", |draft, values| match values.first().map(String::as_str) {
        Some("true" | "1") => draft.not_needed("connections are kept open"),
        _ => draft.set_all("idle-timeout", values),
    }),
    Opt::same(&["uid"], "user"),
    Opt::same(&["gid"], "group"),
    Opt::same(&["umask"], "umask"),
    Opt::converted(&["chmod-socket", "chmod"], "unix-mode", |draft, values| {
        let mode = values.first().filter(|mode| *mode != "true").map_or("666", String::as_str);
        draft.set("unix-mode", mode);
    }),
    Opt::nothing(&["chown-socket"], Value, "--user and --group own the socket"),
    Opt::same(&["pidfile", "pidfile2", "safe-pidfile"], "pid"),
    Opt::same(&["procname", "procname-prefix"], "name"),
    Opt::not_needed(&["auto-procname"], Value, "--name is the name of all processes"),
    Opt::converted(&["static-map"], "static", |draft, values| draft.set_all("static", values)),
    Opt::converted(&["static-expires"], "cache", |draft, _| {
        draft.missing("--cache SECONDS is one time for all files");
    }),
    Opt::same(&["logto", "logto2"], "log-file"),
    Opt::nothing(
        &["daemonize", "d"],
        Value,
        "amboss stays in the foreground; systemd runs it in the background. \
        log-file names a file for the log",
    ),
    Opt::converted(&["disable-logging", "L"], "no-access-log", |draft, values| draft.set_all("no-access-log", values)),
    Opt::nothing(&["log-format"], Value, "--access-log-format takes gunicorn's format, as in '%(h)s \"%(r)s\" %(s)s'"),
    Opt::nothing(&["logger", "req-logger"], Value, "amboss writes to files and to stderr, which systemd passes on"),
    Opt::converted(&["py-autoreload", "python-autoreload"], "reload", |draft, values| {
        if values.first().is_some_and(|value| value != "0") {
            draft.set("reload", "true");
        }
    }),
    Opt::nothing(&["stats", "stats-server"], Value, "amboss has no metrics yet"),
    Opt::not_needed(&["master", "M"], Value, MASTER),
    Opt::not_needed(&["vacuum"], Value, "sockets are removed at the end"),
    Opt::not_needed(&["die-on-term"], Value, "TERM stops the server"),
    Opt::not_needed(
        &["enable-threads", "single-interpreter", "need-app", "thunder-lock", "no-orphans"],
        Value,
        NEEDLESS,
    ),
    Opt::not_needed(
        &["plugin", "plugins", "plugins-dir", "strict", "no-default-app", "http-auto-chunked"],
        Value,
        NEEDLESS,
    ),
    Opt::nothing(
        &["cheaper", "cheaper-initial", "cheaper-algo", "cheaper-step"],
        Value,
        "the number of workers is fixed; \
        TTIN and TTOU change it while the server runs",
    ),
    Opt::nothing(&["spooler", "mule", "mules", "cron", "timer", "cache2", "farm"], Value, INTERNAL),
    Opt::nothing(&["route", "route-uri", "route-host", "add-header", "http-to", "fastrouter"], Value, ROUTES),
    Opt::nothing(&["attach-daemon", "smart-attach-daemon", "attach-daemon2"], Value, "let systemd start that program"),
    Opt::nothing(&["touch-reload", "touch-chain-reload"], Value, "HUP reloads the code: kill -HUP $(cat PIDFILE)"),
    Opt::nothing(&["emperor", "vassals"], Value, "a unit of systemd for each application takes its place"),
];

fn bind(draft: &mut Draft, values: &[String]) {
    let addresses = values.iter().map(|value| match value.trim() {
        path if path.starts_with('/') || !path.contains(':') => format!("unix:{path}"),
        // `:8000` means all addresses.
        address => address.to_owned(),
    });
    let addresses: Vec<String> = addresses.collect();
    draft.set_all("bind", &addresses);
}

/// Joins options that belong together.
pub(super) fn finish(draft: &mut Draft) {
    if let Some(module) = draft.kept("module") {
        let app = match draft.kept("callable") {
            Some(callable) if !module.contains(':') => format!("{module}:{callable}"),
            // uWSGI looks for `application`, and amboss for `app` first.
            _ if !module.contains(':') => format!("{module}:application"),
            _ => module,
        };
        draft.set("app", app);
    }
    if !draft.has("threads") && !draft.has("worker-class") {
        draft.set_one_thread("Without threads, a worker of uWSGI runs one request at a time.");
    }
    let has_workers = draft.value("workers").is_some_and(|workers| workers != "1");
    if has_workers && draft.kept("lazy").is_none_or(|lazy| lazy == "false" || lazy == "0") && !draft.has("worker-class")
    {
        draft.set("preload", "true");
        draft.comment("preload", "uWSGI imports the application before it forks, unless lazy-apps says otherwise.");
    }
}
