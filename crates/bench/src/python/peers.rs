//! The servers that are compared, as their own documentation starts them: one process that serves, no access log.

/// Threads of those that run applications in threads.
pub const THREADS: usize = 8;

/// The name of the row all others are compared with: the fastest of the servers made for Python so far.
pub const SUBJECT: &str = "bjoern";

/// One server of the comparison.
#[derive(Debug)]
pub struct Peer {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// What has to be installed, by the names in the requirements.
    pub packages: &'static [&'static str],
    /// A program of the environment and its arguments. ENVIRONMENT, OBJECT, PORT and THREADS are filled in, and BENCH, which
    /// is this very program.
    pub command: &'static str,
    /// Runs up to [`THREADS`] requests at once.
    pub has_threads: bool,
}

/// The server without Python, beside those in the tables of uploads: what of their time is the server's.
pub const RUST: Peer =
    Peer { name: "amboss in Rust", packages: &[], command: "BENCH serve amboss PORT upload .", has_threads: true };

/// All of them, the subject and its rival first.
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
        // It closes each connection without a word, unless it is told to announce that. With --http11-socket it keeps one, and
        // serves nobody else until that has been silent for four seconds.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::{environment::REQUIREMENTS, wheel};

    #[test]
    fn names_are_unique_and_packages_pinned() {
        for (index, peer) in PEERS.iter().enumerate() {
            assert!(PEERS[..index].iter().all(|other| other.name != peer.name), "{}", peer.name);
            for package in peer.packages {
                let pinned = REQUIREMENTS.lines().any(|line| line.starts_with(&format!("{package}==")));
                assert!(pinned || *package == wheel::PACKAGE, "{package}");
            }
            assert!(peer.command.contains("PORT") && peer.command.contains("OBJECT"), "{}", peer.name);
        }
        assert!(PEERS.iter().any(|peer| peer.name == SUBJECT));
    }
}
