//! The environ: what middleware may change in it, and stopping the server from it.

use super::app;
use crate::support::*;
use amboss_core::Body;

#[test]
fn middleware_may_change_the_environ() {
    struct User(&'static str);
    let app = app(|environ, start_response| {
        environ.set("SCRIPT_NAME", "/mounted");
        environ.set("myproject.stage", "development");
        environ.set("HTTP_X_A", "changed");
        environ.set("HTTP_X_A", "changed again");
        environ.remove("HTTP_X_B");
        environ.extensions_mut().insert(User("ada"));
        environ.extensions_mut().insert(User("grace"));
        assert_eq!(environ.text("SCRIPT_NAME"), "/mounted");
        assert_eq!(environ.text("HTTP_X_A"), "changed again");
        assert_eq!(environ.get("HTTP_X_B"), None);
        assert_eq!(environ.get("HTTP_HOST").as_deref(), Some(&b"localhost"[..]));
        for absent in ["HTTP_X-A", "http_host", "HTTP_CONTENT_LENGTH", "HTTP_", "nothing", ""] {
            assert_eq!(environ.get(absent), None, "{absent}");
        }
        let mut keys: Vec<String> = environ.iter().map(|(key, _)| key.into_owned()).collect();
        let count = keys.len();
        assert!(keys.iter().any(|key| key == "myproject.stage"));
        assert!(!keys.iter().any(|key| key == "HTTP_X_B"));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "each key occurs once");
        assert_eq!(environ.extensions_mut().remove::<User>().map(|user| user.0), Some("grace"));
        assert!(environ.extensions().get::<User>().is_none());
        start_response.start("200 OK", &[])?;
        Ok(Body::from("fine"))
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\nX-B: c\r\n\r\n");
        assert_eq!(client.response().text(), "fine");
        assert_eq!(client.get("/").text(), "fine", "the next request starts with a fresh environ");
    });
}

#[test]
fn the_application_can_stop_the_server_and_its_response_is_sent() {
    for setup in [Setup::single, Setup::threaded] {
        let server = setup().start(app(|environ, start_response| {
            environ.shutdown_server();
            start_response.start("200 OK", &[])?;
            Ok(Body::from("good bye"))
        }));
        let mut client = server.connect();
        assert_eq!(client.get("/").text(), "good bye");
        assert!(client.at_end());
        server.join().unwrap().unwrap();
    }
}
