//! The router as an application: what it sends, and what the applications behind it see.

use amboss_core::{run_wsgi_app, AppError, AppResponse, Application, Body, Environ, EnvironBuilder, StartResponse};
use amboss_toolkit::middleware::Health;
use amboss_toolkit::routing::{RouteArgs, Router};
use amboss_toolkit::Response;

/// Responds with what a router has told the application.
fn echo(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let args: Vec<String> = RouteArgs::of(environ).iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (method, script_name) = (environ.method(), environ.text("SCRIPT_NAME"));
    let text = format!("{method} {script_name}|{} {}", environ.path(), args.join(","));
    Response::text(text).respond(start_response)
}

/// Responds with the URL of the name in the query, with `x` and `id` as values.
fn url(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let name = environ.query().to_string_lossy().into_owned();
    let url = RouteArgs::of(environ).url_for(&name, &[("x", "ä"), ("id", "7")]);
    Response::text(url.unwrap_or_else(|error| error.to_string())).respond(start_response)
}

fn call(router: &Router, request: EnvironBuilder) -> AppResponse {
    let mut owned = request.build().unwrap();
    let mut environ = owned.environ();
    run_wsgi_app(router, &mut environ).unwrap()
}

fn request(line: &str) -> EnvironBuilder {
    let (method, path) = line.split_once(' ').unwrap();
    EnvironBuilder::new(path).method(method)
}

/// The status, and the text of a success or the field that belongs to another status.
fn summary(response: &AppResponse) -> (u16, String) {
    let detail = match response.status {
        308 => response.header("Location"),
        204 | 405 => response.header("Allow"),
        404 => None,
        _ => Some(response.body.as_slice()),
    };
    (response.status, String::from_utf8(detail.unwrap_or_default().to_vec()).unwrap())
}

#[test]
fn the_router_answers_as_its_rules_say() {
    let router = Router::builder()
        .get("/", echo)
        .get("/user/<int:id>", echo)
        .post("/user/<int:id>", echo)
        .get("/user/<name>/", echo)
        .route(["OPTIONS", "PUT"], "/own", echo)
        .get("/files/<path:rest>", echo)
        .any("/any", echo)
        .build()
        .unwrap();
    for (line, status, detail) in [
        ("GET /", 200, "GET |/ "),
        ("GET /user/42", 200, "GET |/user/42 id=42"),
        ("POST /user/42?a=b", 200, "POST |/user/42 id=42"),
        ("HEAD /user/42", 200, ""),
        ("DELETE /user/42", 405, "GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /user/42", 204, "GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /own", 200, "OPTIONS |/own "),
        ("OPTIONS /nothing", 404, ""),
        ("OPTIONS *", 204, ""),
        ("PUT /any", 200, "PUT |/any "),
        ("GET /user/%C3%A4%20%25/", 200, "GET |/user/ä %/ name=ä %"),
        ("GET /user/a%2Fb/", 404, ""),
        ("GET /user/%FF/", 404, ""),
        ("GET /files/a/b%3F", 200, "GET |/files/a/b? rest=a/b?"),
        ("GET /user/ada?next=%2F&x", 308, "/user/ada/?next=%2F&x"),
        ("GET /user/%C3%A4%3F", 308, "/user/%C3%A4%3F/"),
        ("POST /user/ada", 404, ""),
        ("GET /user/42/", 200, "GET |/user/42/ name=42"),
        ("GET /any/", 404, ""),
        ("GET /user//42?q=1", 308, "/user/42?q=1"),
        ("DELETE /user//42", 405, "GET, HEAD, OPTIONS, POST"),
        ("GET /files///a//b", 308, "/files/a/b"),
        ("GET /files/a//b", 200, "GET |/files/a//b rest=a//b"),
        ("GET /nothing", 404, ""),
    ] {
        assert_eq!(summary(&call(&router, request(line))), (status, detail.to_owned()), "{line}");
    }
}

#[test]
fn a_redirect_never_leads_to_another_host() {
    let router = Router::builder().get("/<a>/", echo).get("/<a>/<path:b>/", echo).build().unwrap();
    let outer = Router::builder().mount("/in", router.clone()).build().unwrap();
    let paths =
        ["//evil.example", "///evil.example/%2e%2e", "/%5Cevil.example", "/%2F/evil.example", "//evil.example//x"];
    for path in paths {
        for (router, path) in [(&router, path.to_owned()), (&outer, format!("/in{path}"))] {
            let response = call(router, EnvironBuilder::new("/").set("PATH_INFO", decoded(&path)));
            let (status, location) = summary(&response);
            assert_eq!(status, 308, "{path}");
            let second = location.as_bytes()[1];
            assert!(location.starts_with('/') && second != b'/' && second != b'\\', "{path} leads to {location}");
        }
    }
    // A prefix that a proxy sets is not trusted, either.
    let response = call(&router, EnvironBuilder::new("/a").set("SCRIPT_NAME", "//evil.example"));
    assert_eq!(summary(&response), (308, "/evil.example/a/".to_owned()));
}

fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}

#[test]
fn a_mounted_application_sees_its_prefix_as_script_name() {
    let inner = Router::builder().get("/", echo).get("/user/<int:id>/", echo).build().unwrap();
    let router = Router::builder()
        .mount("/api/<lang>", inner)
        .mount("/static", echo)
        .get("/static/own/<x>", echo)
        .build()
        .unwrap();
    for (line, status, detail) in [
        ("GET /static", 200, "GET /base/static| "),
        ("GET /static/", 200, "GET /base/static|/ "),
        ("PUT /static/a//b", 200, "PUT /base/static|/a//b "),
        ("GET /static/own/y", 200, "GET /base|/static/own/y x=y"),
        ("GET /staticfoo", 404, ""),
        ("GET /api/de", 308, "/base/api/de/"),
        ("GET /api/%C3%A4%3F", 308, "/base/api/%C3%A4%3F/"),
        ("GET /api/de/", 200, "GET /base/api/de|/ lang=de"),
        ("GET /api/de/user/7/", 200, "GET /base/api/de|/user/7/ id=7,lang=de"),
        ("GET /api/de/user/7?a=b", 308, "/base/api/de/user/7/?a=b"),
        ("GET /api/de//user/7", 308, "/base/api/de/user/7/"),
        ("POST /api/de/user/7/", 405, "GET, HEAD, OPTIONS"),
        ("GET /api/de/nothing", 404, ""),
        ("GET /api", 404, ""),
    ] {
        let response = call(&router, request(line).base_url("http://localhost/base"));
        assert_eq!(summary(&response), (status, detail.to_owned()), "{line}");
    }
}

#[test]
fn a_host_has_its_application_and_other_hosts_have_the_rules() {
    let tenant = Router::builder().get("/<page>", echo).build().unwrap();
    let router = Router::builder()
        .get("/", echo)
        .host("api.localhost", Response::text("api"))
        .host("<tenant>.localhost", tenant)
        .host("[::1]", Response::text("six"))
        .build()
        .unwrap();
    for (host, path, status, detail) in [
        ("API.localhost:5000", "/any%FFthing", 200, "api"),
        ("Ada.localhost", "/home", 200, "GET |/home page=home,tenant=ada"),
        ("ada.localhost", "/", 404, ""),
        ("[::1]:5000", "/", 200, "six"),
        ("localhost:5000", "/", 200, "GET |/ "),
        ("127.0.0.1", "/", 200, "GET |/ "),
    ] {
        let response = call(&router, EnvironBuilder::new(path).field("Host", host));
        assert_eq!(summary(&response), (status, detail.to_owned()), "{host} {path}");
    }
}

#[test]
fn an_application_builds_urls_wherever_its_router_is_mounted() {
    let inner = Router::builder().get("/url", url).get("/user/<x>", echo).name("user").build().unwrap();
    let hosted = Router::builder().get("/url", url).get("/h/<x>", echo).name("hosted").build().unwrap();
    let router = Router::builder()
        .mount("/api/<int:id>", inner)
        .name("api")
        .get("/home", echo)
        .name("home")
        .host("h.localhost", hosted)
        .build()
        .unwrap();
    let ask = |path: &str, host: &str| {
        let request = EnvironBuilder::new(path).base_url("http://localhost/base");
        summary(&call(&router, if host.is_empty() { request } else { request.field("Host", host) })).1
    };
    // Inside, the prefix is the one of the request; from outside, its values are given.
    assert_eq!(ask("/api/5/url?user", ""), "/base/api/5/user/%C3%A4?id=7");
    assert_eq!(ask("/api/5/url?api.user", ""), "/base/api/7/user/%C3%A4");
    assert_eq!(ask("/api/5/url?home", ""), "/base/home?x=%C3%A4&id=7");
    assert_eq!(ask("/url?hosted", "h.localhost"), "/base/h/%C3%A4?id=7");
    assert!(ask("/url?home", "h.localhost").contains("\"home\""), "the rules are not at this host");
}

#[test]
fn without_a_router_there_are_no_arguments() {
    let mut owned = EnvironBuilder::new("/").build().unwrap();
    let environ = owned.environ();
    let args = RouteArgs::of(&environ);
    assert_eq!((args.get("id"), args.str("id"), args.int("id"), args.iter().count()), (None, "", None, 0));
    assert!(args.url_for("id", &[]).is_err());
}

#[test]
fn what_the_router_answers_itself_is_immediate() {
    let health = || Health::new(Response::text("app"), "/healthz");
    let inner = Router::builder().get("/x", Response::text("x")).build().unwrap();
    let router = Router::builder()
        .get("/healthz", health())
        .get("/slow", Response::text("slow"))
        .get("/folder/", Response::text("folder"))
        .mount("/api", inner)
        .host("health.localhost", health())
        .build()
        .unwrap();
    for (host, method, path, is_immediate) in [
        ("localhost", "GET", "/healthz", true),
        ("localhost", "GET", "/slow", false),
        ("localhost", "GET", "/folder", true),
        ("localhost", "POST", "/slow", true),
        ("localhost", "GET", "/none", true),
        ("localhost", "GET", "/%ff", true),
        ("localhost", "GET", "/api/none", false),
        ("health.localhost", "GET", "/healthz", true),
        ("health.localhost", "GET", "/none", false),
    ] {
        let mut owned = EnvironBuilder::new(path).method(method).field("Host", host).build().unwrap();
        assert_eq!(router.is_immediate(owned.environ().head(), &mut || {}), is_immediate, "{host} {method} {path}");
    }
}
