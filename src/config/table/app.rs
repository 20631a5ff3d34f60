//! Python applications.

use super::Setting;
use crate::config::parsers::integer;
#[cfg(all(unix, feature = "reload"))]
use crate::config::parsers::timeout_or_zero;
use crate::config::setting::Scope;
use crate::config::values::WorkerClass;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::value(
        "python",
        "PATH",
        "Python interpreter for APP, or the directory of its virtual environment",
        |config, value| {
            config.python.python = Some(value.into());
            Ok(())
        },
    )
    .default_words("that of VIRTUAL_ENV, else .venv or venv in the project, else python3")
    .scope(Scope::Python)
    .once(),
    Setting::switch("factory", "Call APP, which is a function that returns the application", |config| {
        &mut config.python.factory
    })
    .scope(Scope::Python),
    Setting::choice(
        "worker-class",
        "CLASS",
        &[
            ("threads", "A thread for each running request"),
            ("gthread", "As threads"),
            ("sync", "One request at a time in each worker, as with --threads 1"),
            ("gevent", "A greenlet of gevent for each running request"),
            ("eventlet", "A greenlet of eventlet for each running request"),
        ],
        "How requests run in a worker: in threads, or in greenlets of gevent or eventlet, which replace Python's blocking \
         functions before APP is imported",
        |config, value| {
            config.python.runs_one = value == "sync";
            config.python.worker_class = Some(match value.to_str() {
                Some("gevent") => WorkerClass::Gevent,
                Some("eventlet") => WorkerClass::Eventlet,
                _ => WorkerClass::Threads,
            });
            Ok(())
        },
    )
    .short('k')
    .default_words("threads, unless APP has replaced them by greenlets")
    .scope(Scope::Python),
    Setting::value(
        "worker-connections",
        "N",
        "Maximum number of requests that run at once in greenlets",
        |config, value| {
            integer(value, 1..=1_000_000).map(|connections| config.python.worker_connections = Some(connections))
        },
    )
    .default_words("1000")
    .scope(Scope::Python),
    #[cfg(all(unix, feature = "reload"))]
    Setting::value(
        "timeout",
        "SECONDS",
        "Replace a worker in which a request runs longer than this, or whose greenlets have not been switched for so long; 0 \
         for never",
        |config, value| timeout_or_zero(value).map(|time| config.python.timeout = Some(time).filter(|_| value != "0")),
    )
    .short('t')
    .default_words("never")
    .scope(Scope::Python),
    #[cfg(all(unix, feature = "reload"))]
    Setting::value("max-requests", "N", "Replace a worker after this number of requests; 0 for never", |config, value| {
        integer(value, 0..=u64::MAX).map(|requests| config.python.max_requests = Some(requests).filter(|_| requests > 0))
    })
    .default_words("never")
    .scope(Scope::Python),
    #[cfg(all(unix, feature = "reload"))]
    Setting::value(
        "max-requests-jitter",
        "N",
        "Add a random number up to N to --max-requests, so that workers are not all replaced at the same time",
        |config, value| integer(value, 0..=u64::from(u32::MAX)).map(|jitter| config.python.max_requests_jitter = jitter),
    )
    .default("0")
    .needs(&["max-requests"])
    .scope(Scope::Python),
    #[cfg(all(unix, feature = "reload"))]
    Setting::switch("preload", "Import APP once, and fork the workers from that process", |config| {
        &mut config.python.preload
    })
    .scope(Scope::Python),
];
