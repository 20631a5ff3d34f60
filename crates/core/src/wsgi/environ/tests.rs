//! The parts of a request as an application reads them, and the changes of middleware.

use std::io;
use std::sync::Weak;

use super::super::client::Presence;
use super::super::forwarded::ForwardingRules;
use super::super::input::Collected;
use super::super::peer::{Peer, Peers};
use super::*;
use crate::http::{HeadOptions, HeadParser, Leniency};

struct NoClient;

impl Presence for NoClient {
    fn has_left(&self) -> bool {
        true
    }
    #[cfg(unix)]
    fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

struct EmptyBody;

impl Source for EmptyBody {
    fn fill(&mut self) -> io::Result<&[u8]> {
        Ok(b"")
    }
    fn consume(&mut self, _: usize) {}
    fn read_directly(&mut self, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }
    fn at_hand(&self) -> u64 {
        0
    }
    fn length(&self) -> Option<u64> {
        Some(0)
    }
    fn collected(&self) -> Option<Collected<'_>> {
        None
    }
}

/// Calls `check` with the environ of a request from a trusted proxy.
fn with_environ(head: &str, check: impl FnOnce(&mut Environ<'_>)) {
    let mut parser = HeadParser::new(HeadOptions::default());
    parser.parse(head.as_bytes(), head.len()).unwrap().unwrap();
    let head = parser.head(head.as_bytes());
    let target = Target::of(&head, Leniency::default()).unwrap();
    let server = ServerInfo {
        software: "anvil".into(),
        shutdown: Box::new(|| {}),
        multithread: true,
        multiprocess: false,
        run_once: false,
    };
    let presence: Weak<dyn Presence> = Weak::<NoClient>::new();
    let peers = Peers { socket: Peer::Local, client: Peer::Local };
    let connection = ConnectionInfo {
        server_name: "localhost",
        server_port: "80",
        peers: &peers,
        scheme: "http",
        presence: &presence,
        plain: true,
        variables: &[],
    };
    let (mut body, mut extensions) = (EmptyBody, Extensions::default());
    let rules = ForwardingRules { hops: "host=1,prefix=1".parse().unwrap(), rfc7239: false };
    let forwarded = Forwarded::of(&head, &target, rules);
    check(&mut Environ::new(head, target, &server, connection, forwarded, &mut body, &mut extensions));
}

#[test]
fn method_path_and_query_compare_with_text_and_bytes() {
    with_environ("GET /a%20b?c=%20d HTTP/1.1\r\nHost: x\r\n\r\n", |environ| {
        assert!(environ.method() == "GET" && environ.method() == b"GET" && environ.method() != "get");
        assert!(environ.path() == "/a b" && environ.path() == b"/a b");
        assert_eq!(environ.query(), "c=%20d");
        assert_eq!(environ.get("SERVER_SOFTWARE").unwrap(), "anvil");
        assert_eq!(environ.text("REMOTE_ADDR"), "<local>");
    });
    with_environ("GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", |environ| {
        assert!(environ.path().to_str().is_err() && environ.path() == b"/\xff");
        assert_eq!((environ.text("PATH_INFO").as_ref(), environ.query().as_bytes()), ("/\u{fffd}", &b""[..]));
    });
}

#[test]
fn a_header_is_found_by_its_name_on_the_wire_in_any_case() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nUser-Agent: a\r\ncontent-type: b\r\nContent-Length: 0\r\n\
                Accept: c\r\nACCEPT: d\r\nCookie: e\r\nCookie: f\r\nUnder_Score: g\r\n\r\n";
    with_environ(head, |environ| {
        for (name, value) in [
            ("User-Agent", "a"),
            ("user-agent", "a"),
            ("Content-Type", "b"),
            ("CONTENT-LENGTH", "0"),
            ("Accept", "c,d"),
            ("cookie", "e; f"),
            ("Host", "x"),
        ] {
            assert_eq!(environ.header(name).unwrap_or_default(), value, "{name}");
        }
        for name in ["Missing", "", "User_Agent", "Under_Score", "HTTP_USER_AGENT", "wsgi.version"] {
            assert_eq!(environ.header(name), None, "{name}");
        }
    });
}

#[test]
fn middleware_changes_are_seen_by_every_accessor() {
    with_environ("GET /app/page HTTP/1.1\r\nHost: x\r\nUser-Agent: a\r\n\r\n", |environ| {
        let rest = environ.path().strip_prefix("/app").map(ByteStr::into_owned).unwrap();
        environ.set("PATH_INFO", rest);
        environ.set("REQUEST_METHOD", "POST");
        environ.set("HTTP_USER_AGENT", "b");
        environ.remove("HTTP_HOST");
        assert!(environ.path() == "/page" && environ.method() == "POST");
        assert_eq!(environ.header("User-Agent").unwrap(), "b");
        assert_eq!(environ.header("Host"), None);
        let agents = environ.iter().filter(|(key, _)| key == "HTTP_USER_AGENT").map(|(_, value)| value);
        assert_eq!(agents.collect::<Vec<_>>(), ["b"]);
    });
}

#[test]
fn what_a_proxy_says_replaces_values_whose_originals_are_kept() {
    let head = "GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: public.example\r\nX-Forwarded-Prefix: /shop\r\n\r\n";
    with_environ(head, |environ| {
        assert!(environ.is_forwarded());
        assert_eq!((environ.peer().to_string().as_str(), environ.connection_peer()), ("192.0.2.7", Peer::Local));
        for (key, value, original) in [
            ("REMOTE_ADDR", "192.0.2.7", "<local>"),
            ("REMOTE_PORT", "0", "0"),
            ("wsgi.url_scheme", "https", "http"),
            ("HTTP_HOST", "public.example", "app"),
            ("SERVER_NAME", "public.example", "localhost"),
            ("SERVER_PORT", "80", "80"),
            ("SCRIPT_NAME", "/shop", ""),
            ("HTTP_X_FORWARDED_FOR", "192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(environ.text(key), value, "{key}");
            assert_eq!(environ.original(key).unwrap(), original, "{key}");
            assert_eq!(environ.iter().filter(|(name, _)| name == key).count(), 1, "{key}");
        }
        assert_eq!(environ.header("Host").unwrap(), "public.example");
        environ.set("SCRIPT_NAME", "/changed");
        assert_eq!(
            (environ.text("SCRIPT_NAME").as_ref(), environ.original("SCRIPT_NAME").unwrap().len()),
            ("/changed", 0)
        );
        environ.remove("HTTP_HOST");
        let changes: Vec<_> = environ.changes().collect();
        assert_eq!(changes, [("SCRIPT_NAME", Some(&b"/changed"[..])), ("HTTP_HOST", None)]);
    });
    with_environ("GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: unknown\r\n\r\n", |environ| {
        assert!(!environ.is_forwarded() && environ.peer() == Peer::Local);
    });
}
