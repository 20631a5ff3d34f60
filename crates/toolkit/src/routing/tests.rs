//! The router as a whole, without requests: against a matcher that tries every rule, and from URLs back to arguments.

use amboss_core::Application;
use percent_encoding::percent_decode_str;

use super::{Lookup, RouteErrorKind, Router, RouterBuilder};
use crate::response::Response;

fn app() -> impl Application {
    Response::empty(200)
}

/// Pseudo-random numbers (xorshift64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// A rule of the reference matcher.
struct Reference {
    text: String,
    segments: Vec<&'static str>,
    slash: bool,
    mount: bool,
    method: &'static str,
}

impl Reference {
    fn random(random: &mut Random) -> Reference {
        let (mut segments, mut has_path) = (Vec::new(), false);
        for _ in 0..random.below(4) {
            let pool = [
                "a",
                "b",
                "b",
                "ab",
                "{a}",
                "<x>",
                "<x>",
                "<int:x>",
                "<any(a,b):x>",
                "<any(b,1):x>",
                "a<x>",
                "<path:x>",
            ];
            let segment = random.pick(&pool);
            if segment != "<path:x>" || !has_path {
                has_path |= segment == "<path:x>";
                segments.push(segment);
            }
        }
        let mount = !has_path && random.below(6) == 0;
        let slash = !mount && (segments.is_empty() || random.below(3) == 0);
        let named = segments
            .iter()
            .enumerate()
            .map(|(number, part)| format!("/{}", part.replace("x>", &format!("x{number}>"))));
        let text = named.collect::<String>() + if slash { "/" } else { "" };
        let method = if mount { "" } else { random.pick(&["GET", "GET", "POST", ""]) };
        Reference { text, segments, slash, mount, method }
    }

    /// What makes two rules a duplicate.
    fn pattern(&self) -> (Vec<&'static str>, bool, bool) {
        let slash = self.slash && self.segments.last() != Some(&"<path:x>");
        (self.segments.clone(), slash, self.mount)
    }

    fn rank(&self) -> (Vec<u8>, bool) {
        let mut rank: Vec<u8> = self
            .segments
            .iter()
            .map(|segment| match *segment {
                "<x>" => 3,
                "<path:x>" => 4,
                "a<x>" => 1,
                segment if segment.starts_with('<') => 2,
                _ => 0,
            })
            .collect();
        if self.mount {
            rank.push(5);
        } else if self.segments.contains(&"<path:x>") {
            rank.push(9);
        }
        (rank, self.slash)
    }

    fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            return self.mount && path.is_empty() && self.segments.is_empty();
        };
        let parts: Vec<&str> = rest.split('/').collect();
        if self.mount {
            return (self.segments.is_empty() || parts.len() >= self.segments.len())
                && fits(&self.segments, &parts[..self.segments.len()]);
        }
        // The slash at the end is an empty segment.
        let end: &[&str] = if self.slash && !self.segments.is_empty() { &[""] } else { &[] };
        if self.segments.is_empty() {
            parts == [""]
        } else {
            fits(&[&self.segments, end].concat(), &parts)
        }
    }

    fn accepts(&self, method: &str) -> bool {
        self.method.is_empty() || self.method == method || (self.method == "GET" && method == "HEAD")
    }
}

fn fits(segments: &[&str], parts: &[&str]) -> bool {
    let Some((segment, rest)) = segments.split_first() else { return parts.is_empty() };
    let first = parts.first().copied().unwrap_or_default();
    match *segment {
        // An argument in the middle of a rule does not end with a slash.
        "<path:x>" => (1..=parts.len()).any(|count| {
            let is_end = rest.is_empty() && count == parts.len();
            !first.is_empty() && (is_end || !parts[count - 1].is_empty()) && fits(rest, &parts[count..])
        }),
        "" => *parts == [""],
        _ if first.is_empty() => false,
        "<x>" => fits(rest, &parts[1..]),
        "a<x>" => first.len() > 1 && first.starts_with('a') && fits(rest, &parts[1..]),
        "<int:x>" => first.bytes().all(|byte| byte.is_ascii_digit()) && fits(rest, &parts[1..]),
        "<any(a,b):x>" => ["a", "b"].contains(&first) && fits(rest, &parts[1..]),
        "<any(b,1):x>" => ["b", "1"].contains(&first) && fits(rest, &parts[1..]),
        text => first == text && fits(rest, &parts[1..]),
    }
}

/// What a router does: the rule, `> path` for a redirect, the methods, or nothing.
fn expected(rules: &[Reference], method: &str, path: &str) -> String {
    let once = |path: &str| {
        let mut allowed = Vec::new();
        for rule in rules {
            if rule.matches(path) {
                if rule.accepts(method) {
                    return rule.text.clone();
                }
                allowed.extend(if rule.method == "GET" { vec!["GET", "HEAD"] } else { vec![rule.method] });
            } else if rule.slash && rule.accepts(method) && rule.matches(&format!("{path}/")) && !path.ends_with('/') {
                return format!("> {path}/");
            }
        }
        if !allowed.is_empty() {
            allowed.push("OPTIONS");
            allowed.sort_unstable();
            allowed.dedup();
        }
        allowed.join(", ")
    };
    let found = once(path);
    if !found.is_empty() || !path.contains("//") {
        return found;
    }
    let mut merged = path.to_owned();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    match once(&merged) {
        redirect if redirect.starts_with('>') => redirect,
        rule if rule.starts_with('/') => format!("> {merged}"),
        _ => String::new(),
    }
}

fn actual(router: &Router, method: &str, path: &str) -> String {
    match router.find(None, method, path) {
        Lookup::Found(found) => found.rule().to_owned(),
        Lookup::Redirect(path) => format!("> {path}"),
        Lookup::MethodNotAllowed(allowed) => allowed.join(", "),
        Lookup::NotFound => String::new(),
    }
}

#[test]
fn the_router_finds_what_trying_every_rule_finds() {
    let mut random = Random(0x5eed);
    let mut kinds = [0; 4];
    for round in 0..400 {
        let (mut rules, mut builder) = (Vec::<Reference>::new(), Router::builder());
        for _ in 0..=random.below(14) {
            let rule = Reference::random(&mut random);
            // A mount at the root has an empty text, which means nothing was found.
            if rules.iter().any(|known| known.pattern() == rule.pattern()) || rule.text.is_empty() {
                continue;
            }
            builder = match rule.method {
                _ if rule.mount => builder.mount(&rule.text, app()),
                "" => builder.any(&rule.text, app()),
                method => builder.route([method], &rule.text, app()),
            };
            rules.push(rule);
        }
        let router = builder.build().unwrap();
        rules.sort_by_key(Reference::rank);
        for _ in 0..200 {
            let parts = (0..random.below(5)).map(|_| random.pick(&["/a", "/b", "/1", "/ab", "/12", "/é", "/{a}", "/"]));
            let path = parts.collect::<String>() + if random.below(3) == 0 { "/" } else { "" };
            let method = random.pick(&["GET", "GET", "POST", "HEAD", "DELETE"]);
            let (found, wanted) = (actual(&router, method, &path), expected(&rules, method, &path));
            kinds[match wanted.as_bytes().first() {
                None => 0,
                Some(b'/') => 1,
                Some(b'>') => 2,
                Some(_) => 3,
            }] += 1;
            let texts: Vec<&str> = rules.iter().map(|rule| rule.text.as_str()).collect();
            assert_eq!(found, wanted, "round {round}: {method} {path:?} with {texts:?}");
        }
    }
    assert!(kinds.iter().all(|&count| count > 1_000), "every result occurs often: {kinds:?}");
}

#[test]
fn an_argument_that_refuses_leaves_the_path_to_less_specific_rules() {
    let router = Router::builder()
        .get("/<path:rest>", app())
        .get("/<name>", app())
        .get("/<int(max=99):id>", app())
        .get("/<any(a,b):x>/y", app())
        .get("/<name>/y", app())
        .get("/a/<int:n>", app())
        .post("/new", app())
        .mount("/", app())
        .build()
        .unwrap();
    for (path, rule) in [
        ("/5", "/<int(max=99):id>"),
        ("/100", "/<name>"),
        ("/a/y", "/<any(a,b):x>/y"),
        ("/c/y", "/<name>/y"),
        ("/a/5", "/a/<int:n>"),
        ("/a/x", "/<path:rest>"),
        ("/new", "/<name>"),
        ("/", "/"),
    ] {
        assert_eq!(actual(&router, "GET", path), rule, "{path}");
    }
}

#[test]
fn a_rule_for_head_precedes_the_rule_for_get() {
    let router =
        Router::builder().get("/a", app()).name("get").route(["HEAD"], "/a", app()).name("head").build().unwrap();
    let name = |method| match router.find(None, method, "/a") {
        Lookup::Found(found) => found.name(),
        _ => None,
    };
    assert_eq!((name("GET"), name("HEAD"), name("POST")), (Some("get"), Some("head"), None));
}

#[test]
fn hosts_precede_rules_and_the_most_specific_host_counts() {
    let router = Router::builder()
        .get("/", app())
        .host("*.localhost", app())
        .host("<user>.localhost", app())
        .host("api.localhost", app())
        .host("[::1]", app())
        .build()
        .unwrap();
    for (host, rule) in [
        (Some("API.localhost:5000"), "api.localhost"),
        (Some("Ada.localhost"), "<user>.localhost"),
        (Some("a.b.localhost"), "localhost"),
        (Some("[0::1]:80"), "[::1]"),
        (Some("localhost"), "/"),
        (Some(""), "/"),
        (None, "/"),
    ] {
        let Lookup::Found(found) = router.find(host, "GET", "/") else { panic!("{host:?} is found") };
        assert_eq!(found.rule(), rule, "{host:?}");
        assert_eq!(found.get("user"), (rule == "<user>.localhost").then_some("ada"));
    }
}

#[test]
fn a_url_leads_back_to_the_same_arguments() {
    let router = Router::builder()
        .get("/<a>/x<b>.html", app())
        .name("text")
        .get("/n/<int:a>/<any(ä b,c%):b>/", app())
        .name("number")
        .get("/p/<path:a>/e/<b>/", app())
        .name("path")
        .build()
        .unwrap();
    let mut random = Random(0x5eed);
    let letters = [
        "a", "ä", "日", "😀", "%", "%41", "?", "#", " ", "&", "=", "+", ";", "\\", "\"", "<", "{", "}", ".", "\0",
        "\r\n",
    ];
    let mut built = 0;
    for _ in 0..5_000 {
        let mut text = |more: &[&'static str]| {
            (0..=random.below(4)).map(|_| random.pick(&[&letters, more].concat())).collect::<String>()
        };
        let (a, b, left) = (text(&["/"]), text(&[]), text(&["/"]));
        let a = if a.len() % 3 == 0 { a.len().to_string() } else { a };
        let b = if b.len() % 3 == 0 { "c%".to_owned() } else { b };
        for name in ["text", "number", "path"] {
            let Ok(url) = router.url_for(name, &[("a", &a), ("left&", &left), ("b", &b)]) else { continue };
            built += 1;
            assert!(
                url.is_ascii() && !url.starts_with("//") && !url.contains([' ', '\\', '"', '<', '\r', '\n']),
                "{url}"
            );
            let (path, query) = url.split_once('?').unwrap();
            let path = percent_decode_str(path).decode_utf8().unwrap();
            let Lookup::Found(found) = router.find(None, "GET", &path) else { panic!("{url} is found") };
            let args: Vec<_> = found.args().collect();
            assert_eq!((found.name(), args), (Some(name), vec![("a", &*a), ("b", &*b)]), "{url}");
            let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            assert_eq!(pairs, [("left&".into(), left.as_str().into())], "{url}");
        }
    }
    assert!(built > 5_000, "{built}");
}

#[test]
fn a_url_that_can_not_be_built_says_which_value_is_wrong() {
    use RouteErrorKind::{InvalidValue, MissingValue, UnknownName};
    let inner = Router::builder().get("/<x>", app()).name("x").build().unwrap();
    let router = Router::builder()
        .get("/user/<int(max=99):id>", app())
        .name("user")
        .get("/t/<name>", app())
        .name("text")
        .get("/p/<path:p>/e", app())
        .name("path")
        .mount("/api/<v>", inner)
        .name("api")
        .mount("/other", app())
        .name("other")
        .build()
        .unwrap();
    for (name, values, kind, word) in [
        ("nothing", &[][..], UnknownName, "\"nothing\""),
        ("user.x", &[("id", "1")], UnknownName, "\"user.x\""),
        ("other.x", &[], UnknownName, "\"other.x\""),
        ("api.y", &[("v", "1")], UnknownName, "\"api.y\""),
        ("user", &[], MissingValue, "\"id\""),
        ("api.x", &[("v", "1")], MissingValue, "\"x\""),
        ("user", &[("id", "x")], InvalidValue, "digits"),
        ("user", &[("id", "100")], InvalidValue, "99"),
        ("text", &[("name", "a/b")], InvalidValue, "without"),
        ("text", &[("name", "")], InvalidValue, "\"name\""),
        ("text", &[("name", "..")], InvalidValue, "\"..\""),
        ("path", &[("p", "/a")], InvalidValue, "\"/a\""),
        ("path", &[("p", "a/")], InvalidValue, "\"a/\""),
        ("path", &[("p", "a/../b")], InvalidValue, "\"a/../b\""),
    ] {
        let error = router.url_for(name, values).unwrap_err();
        assert_eq!(error.kind(), kind, "{name} {values:?}: {error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(router.url_for("api.x", &[("x", "a"), ("v", "1")]).unwrap(), "/api/1/a");
    assert_eq!(router.url_for("api", &[("v", "1")]).unwrap(), "/api/1/");
}

#[test]
fn a_mistake_in_building_is_reported() {
    use RouteErrorKind::*;
    type Build = fn(RouterBuilder) -> RouterBuilder;
    let table: &[(Build, Option<RouteErrorKind>)] = &[
        (|b| b.get("/<a>", app()).get("/<b>", app()), Some(DuplicateRule)),
        (|b| b.any("/a", app()).get("/a", app()), Some(DuplicateRule)),
        (|b| b.mount("/a", app()).mount("/a/", app()), Some(DuplicateRule)),
        (|b| b.get("/<path:a>", app()).get("/<path:a>/", app()), Some(DuplicateRule)),
        (|b| b.get("/a", app()).post("/a", app()).any("/a", app()), None),
        (|b| b.get("/a", app()).get("/a/", app()).mount("/a", app()), None),
        (|b| b.get("/<a>", app()).get("/<int:a>", app()).get("/<int(max=5):a>", app()), None),
        (|b| b.get("/<path:a>/e", app()).get("/<path:a>/e/", app()), None),
        (|b| b.get("/a", app()).name("a").get("/b", app()).name("a"), Some(DuplicateName)),
        (|b| b.get("/a", app()).name("a").name("b"), Some(DuplicateName)),
        (|b| b.get("/a", app()).name("a.b"), Some(MalformedName)),
        (|b| b.name("a"), Some(MalformedName)),
        (|b| b.get("/a", app()).host("b", app()).name("b"), Some(MalformedName)),
        (|b| b.route(["get"], "/a", app()), Some(MalformedMethod)),
        (|b| b.route(["GET,POST"], "/a", app()), Some(MalformedMethod)),
        (|b| b.route([""; 0], "/a", app()), Some(MalformedMethod)),
        (|b| b.host("A.localhost", app()).host("a.localhost", app()), Some(DuplicateHost)),
        (|b| b.host("<a>.localhost", app()).host("<b>.localhost", app()), Some(DuplicateHost)),
        (|b| b.host("*.localhost", app()).host("localhost", app()), None),
        (|b| b.get("a", app()).name("a").get("/b", app()).name("a"), Some(MalformedRule)),
        (|b| b, None),
    ];
    for (number, (build, kind)) in table.iter().enumerate() {
        let result = build(Router::builder()).build();
        assert_eq!(result.err().map(|error| error.kind()), *kind, "case {number}");
    }
}
