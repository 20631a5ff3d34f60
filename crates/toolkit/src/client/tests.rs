use super::*;
use crate::{request_app, HttpError, Response};
use amboss_core::{AppError, Body, Environ, StartResponse};

fn app() -> impl Application {
    request_app(|request| {
        let (method, path) = (request.method().into_owned(), request.path().into_owned());
        Ok(match path.as_str() {
            "/echo" => {
                let text = request.text()?.to_owned();
                let fields = format!("{method} {} {text}", request.content_type());
                Response::text(fields)
            }
            "/args" => Response::text(request.query_string()),
            "/cookies" => Response::text(request.header("Cookie").unwrap_or_default()),
            "/set" => {
                let mut response = Response::text("set").with_cookie(("a", "x y"));
                response.set_cookie(cookie::Cookie::build(("deep", "1")).path("/deep"));
                response.set_cookie(cookie::Cookie::build(("safe", "1")).path("/").secure(true));
                response
            }
            "/own" => {
                let mut response = Response::empty(204);
                let path = format!("{}/", request.root_path());
                response.set_cookie(cookie::Cookie::build(("own", "1")).path(path));
                response.set_cookie(cookie::Cookie::build(("foreign", "1")).path("/").domain("evil.example"));
                response
            }
            "/forget" => {
                let mut response = Response::empty(204);
                response.delete_cookie("a");
                response
            }
            "/loop" => Response::redirect("/loop"),
            "/away" => Response::redirect("https://example.org/"),
            "/relative/x" => Response::redirect("y?z=1").with_status(307),
            "/relative/y" => Response::text(format!("{method} {}", request.url())),
            "/absolute" => Response::redirect(format!("{}relative/y", request.root_url())).with_status(303),
            "/nowhere-to-go" => Response::empty(302),
            _ => return Err(HttpError::not_found()),
        })
    })
}

#[test]
fn a_request_carries_method_fields_query_and_body() {
    let client = Client::new(app());
    for (request, text) in [
        (client.post("/echo").body("hi").header("Content-Type", "a/b"), "POST a/b hi"),
        (client.put("/echo"), "PUT  "),
        (
            client.request("PATCH", "/echo").form(&[("a", "1 2"), ("b", "ä")]),
            "PATCH application/x-www-form-urlencoded a=1+2&b=%C3%A4",
        ),
        (client.get("/args?x=1").query(&[("y", "a&b"), ("z", "")]), "x=1&y=a%26b&z="),
        (client.get("/args").query(&[("y", "ä")]), "y=%C3%A4"),
    ] {
        assert_eq!(request.send().unwrap().text(), text);
    }
    let head = client.head("/echo").send().unwrap();
    assert_eq!((head.status(), head.body().len(), head.header("content-type").is_some()), (200, 0, true));
}

#[test]
fn a_form_with_a_file_is_multipart() {
    let client = Client::new(app());
    let request = client.post("/echo").form(&[("a\"b", "1")]).file("upload", "x\r\n.txt", "test-boundary-0");
    let text = request.send().unwrap().text();
    let expected = "POST multipart/form-data; boundary=test-boundary-1 --test-boundary-1\r\n\
        Content-Disposition: form-data; name=\"a%22b\"\r\n\r\n1\r\n--test-boundary-1\r\n\
        Content-Disposition: form-data; name=\"upload\"; filename=\"x%0D%0A.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        test-boundary-0\r\n--test-boundary-1--\r\n";
    assert_eq!(text, expected);
}

#[test]
fn cookies_are_kept_by_path_and_security_and_deleted() {
    let client = Client::new(app());
    let cookies = |client: &Client, path: &str| client.get(path).send().unwrap().text();
    assert_eq!(cookies(&client, "/cookies"), "");
    client.get("/set").send().unwrap();
    assert_eq!(cookies(&client, "/cookies"), "a=x%20y");
    assert_eq!((client.cookie("a").as_deref(), client.cookie("deep")), (Some("x y"), None));
    let secure = Client::new(app()).base_url("https://localhost");
    secure.get("/set").send().unwrap();
    assert_eq!(cookies(&secure, "/cookies"), "a=x%20y; safe=1");
    client.set_cookie("b", "2");
    client.get("/forget").send().unwrap();
    assert_eq!(cookies(&client, "/cookies"), "b=2");
    assert_eq!(client.get("/cookies").header("Cookie", "own=1").send().unwrap().text(), "own=1");
    client.clear_cookies();
    assert_eq!(cookies(&client, "/cookies"), "");
}

#[test]
fn cookies_belong_to_the_host_and_to_the_path_of_the_application() {
    for base in ["http://localhost", "http://localhost/app", "http://example.org:8000/a"] {
        let client = Client::new(app()).base_url(base);
        client.get("/own").send().unwrap();
        assert_eq!(client.get("/cookies#top").send().unwrap().text(), "own=1", "{base}");
        assert_eq!((client.cookie("own").as_deref(), client.cookie("foreign")), (Some("1"), None), "{base}");
    }
}

#[test]
fn redirects_are_followed_when_asked_for_and_within_the_application() {
    let client = Client::new(app());
    assert_eq!(client.get("/loop").send().unwrap().status(), 302);
    let follow = |method, path| client.request(method, path).follow_redirects(true).send();
    let relative = follow("POST", "/relative/x").unwrap();
    assert_eq!(
        (relative.text().as_str(), relative.path()),
        ("POST http://localhost/relative/y?z=1", "/relative/y?z=1")
    );
    let absolute = follow("POST", "/absolute").unwrap();
    assert_eq!((absolute.text().as_str(), absolute.history().len()), ("GET http://localhost/relative/y", 1));
    for (path, part) in [("/loop", "20 redirects"), ("/away", "another host"), ("/nowhere-to-go", "no Location")] {
        let error = follow("GET", path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mounted = Client::new(app()).base_url("http://localhost/app/");
    assert_eq!(
        mounted.get("/absolute").follow_redirects(true).send().unwrap().text(),
        "GET http://localhost/app/relative/y"
    );
    let error = mounted.get("/loop").follow_redirects(true).send().unwrap_err().to_string();
    assert!(error.contains("another host or application"), "{error}");
}

#[test]
fn a_failing_application_is_an_error() {
    let fails = |_: &mut Environ<'_>, _: &mut dyn StartResponse| -> Result<Body, AppError> { Err("as asked".into()) };
    let error = Client::new(fails).get("/").send().unwrap_err();
    assert!(matches!(error.kind(), ClientErrorKind::App(_)) && error.to_string().contains("as asked"));
    let error = Client::new(fails).get("relative").send().unwrap_err();
    assert!(matches!(error.kind(), ClientErrorKind::Request(_)), "{error}");
}

#[cfg(feature = "json")]
#[test]
fn json_is_written_and_read_by_serde() {
    let client = Client::new(request_app(|request| {
        let numbers: Vec<u32> = request.json()?;
        Response::json(&numbers.iter().sum::<u32>())
    }));
    assert_eq!(client.post("/").json(&[1, 2, 3]).unwrap().send().unwrap().json::<u32>().unwrap(), 6);
}

#[cfg(feature = "live")]
#[test]
fn the_same_calls_reach_a_running_server() {
    let mut server = amboss_core::ThreadedWsgiServer::bind("127.0.0.1:0", app()).unwrap();
    let (url, handle) = (format!("http://{}", server.local_addrs()[0]), server.shutdown_handle());
    let thread = std::thread::spawn(move || server.serve_forever());
    let client = Client::live(&url);
    assert_eq!(client.post("/echo").body("hi").header("Content-Type", "a/b").send().unwrap().text(), "POST a/b hi");
    assert_eq!(client.put("/echo").send().unwrap().text(), "PUT  ");
    assert_eq!(client.delete("/nowhere").send().unwrap().status(), 404);
    client.get("/set").send().unwrap();
    assert_eq!(client.get("/cookies").send().unwrap().text(), "a=x%20y");
    let absolute = client.post("/absolute").follow_redirects(true).send().unwrap();
    assert_eq!(absolute.text(), format!("GET {url}/relative/y"));
    let head = client.head("/echo").send().unwrap();
    assert_eq!((head.status(), head.body().len()), (200, 0));
    drop(client);
    handle.shutdown();
    thread.join().unwrap().unwrap();
    let error = Client::live(&url).get("/").send().unwrap_err();
    assert!(matches!(error.kind(), ClientErrorKind::Connection(_)) && error.to_string().contains(&url), "{error}");
}
