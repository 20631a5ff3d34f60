//! The servers that are compared, started as their own documentation recommends: one serving process, no access log.

/// The number of threads of the servers that run applications in threads.
pub const THREADS: usize = 8;

/// The name of the server that all ratios refer to: the fastest server for Python before amboss.
pub const SUBJECT: &str = "bjoern";

/// A server of the comparison.
#[derive(Debug)]
pub struct Peer {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// The packages to install, by their names in the requirements.
    pub packages: &'static [&'static str],
    /// A program of the environment and its arguments. ENVIRONMENT, OBJECT, PORT and THREADS are replaced by their
    /// values, and BENCH by the path of this program.
    pub command: &'static str,
    /// Whether the peer runs up to [`THREADS`] requests at the same time.
    pub has_threads: bool,
}

/// The server of amboss with an application in Rust, in the tables of uploads: it shows which part of the time is the
/// server's.
pub const RUST: Peer =
    Peer { name: "amboss in Rust", packages: &[], command: "BENCH serve amboss PORT upload .", has_threads: true };

/// All servers, with amboss and the subject first.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "amboss",
        packages: &["amboss"],
        command: "python -m amboss -q --threads THREADS -b 127.0.0.1:PORT OBJECT",
        has_threads: true,
    },
    Peer { name: "bjoern", packages: &["bjoern"], command: "python launch.py bjoern PORT OBJECT", has_threads: false },
    Peer {
        name: "granian",
        packages: &["granian"],
        command: "python -m granian --interface wsgi --workers 1 --blocking-threads 1 --no-access-log \
                  --log-level warning --host 127.0.0.1 --port PORT OBJECT",
        has_threads: false,
    },
    Peer {
        name: "uwsgi",
        packages: &["uwsgi"],
        // uwsgi closes each connection, and without this field it does not announce it. With --http11-socket it keeps a
        // connection open, but serves no other until that one has been idle for four seconds.
        command: "uwsgi --http-socket 127.0.0.1:PORT --home ENVIRONMENT --pythonpath . --module OBJECT --need-app \
                  --die-on-term --disable-logging --add-header Connection:close",
        has_threads: false,
    },
    Peer {
        name: "gunicorn-sync",
        packages: &["gunicorn"],
        command: "python -m gunicorn -w 1 -k sync --no-control-socket --log-level warning -b 127.0.0.1:PORT OBJECT",
        has_threads: false,
    },
    Peer {
        name: "gunicorn-gthread",
        packages: &["gunicorn"],
        command: "python -m gunicorn -w 1 -k gthread --threads THREADS --no-control-socket --log-level warning \
                  -b 127.0.0.1:PORT OBJECT",
        has_threads: true,
    },
    Peer {
        name: "gunicorn-gevent",
        packages: &["gunicorn", "gevent", "packaging"],
        command: "python -m gunicorn -w 1 -k gevent --no-control-socket --log-level warning -b 127.0.0.1:PORT OBJECT",
        has_threads: false,
    },
    Peer {
        name: "waitress",
        packages: &["waitress"],
        command: "python -m waitress --threads THREADS --listen 127.0.0.1:PORT OBJECT",
        has_threads: true,
    },
    Peer {
        name: "cheroot",
        packages: &["cheroot"],
        command: "python -m cheroot --threads THREADS --max-threads THREADS --bind 127.0.0.1:PORT OBJECT",
        has_threads: true,
    },
    Peer {
        name: "werkzeug",
        packages: &["werkzeug"],
        command: "python launch.py werkzeug PORT OBJECT",
        has_threads: false,
    },
];

/// The servers whose requests run in greenlets, each in one process, with amboss first. They have a table of their own.
pub const GREENLETS: &[Peer] = &[
    Peer {
        name: "amboss -k gevent",
        packages: &["amboss", "gevent"],
        command: "python -m amboss -q -k gevent -b 127.0.0.1:PORT OBJECT",
        has_threads: false,
    },
    Peer {
        name: "gunicorn -k gevent",
        packages: &["gunicorn", "gevent", "packaging"],
        command: "python -m gunicorn -w 1 -k gevent --no-control-socket --log-level warning -b 127.0.0.1:PORT OBJECT",
        has_threads: false,
    },
    Peer {
        name: "gevent.pywsgi",
        packages: &["gevent"],
        command: "python launch.py pywsgi PORT OBJECT",
        has_threads: false,
    },
    Peer {
        name: "uwsgi --gevent",
        packages: &["uwsgi", "gevent"],
        command: "uwsgi --http-socket 127.0.0.1:PORT --home ENVIRONMENT --pythonpath . --module OBJECT --need-app \
                  --die-on-term --disable-logging --add-header Connection:close --gevent 1000 --gevent-monkey-patch \
                  --listen 128",
        has_threads: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::{venv::REQUIREMENTS, wheel};

    #[test]
    fn names_are_unique_and_packages_are_pinned() {
        let all: Vec<&Peer> = PEERS.iter().chain(GREENLETS).collect();
        for (index, peer) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != peer.name), "{}", peer.name);
            for package in peer.packages {
                let pinned = REQUIREMENTS.lines().any(|line| line.starts_with(&format!("{package}==")));
                assert!(pinned || *package == wheel::PACKAGE, "{package}");
            }
            assert!(peer.command.contains("PORT") && peer.command.contains("OBJECT"), "{}", peer.name);
        }
        assert!(PEERS.iter().any(|peer| peer.name == SUBJECT));
    }
}
