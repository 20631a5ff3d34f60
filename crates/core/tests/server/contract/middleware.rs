//! Between server and application: wrapped applications, and the request handler.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use super::app;
use crate::support::*;
use amboss_core::{AppError, Application, Body, Environ, RequestHandler, StartError, StartResponse};

#[test]
fn middleware_can_wrap_the_application_and_start_response() {
    struct Branding<'a>(&'a mut dyn StartResponse);
    impl StartResponse for Branding<'_> {
        fn begin(
            &mut self,
            status: &str,
            fields: &[(&str, &[u8])],
            error: Option<&AppError>,
        ) -> Result<(), StartError> {
            self.0.begin(status, &[fields, &[("X-Anvil", b"yes")]].concat(), error)
        }
        fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
            self.0.write(&data.to_ascii_uppercase())
        }
    }
    struct Branded<A>(A);
    impl<A: Application> Application for Branded<A> {
        fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
            self.0.call(environ, &mut Branding(start_response))
        }
    }
    let inner = app(|_, start_response| {
        start_response.start("200 OK", &[("X-Inner", "1")])?;
        start_response.write(b"written")?;
        Ok(Body::empty())
    });
    for_each_server(Branded(inner), |server| {
        let response = server.get("/");
        assert_eq!((response.field("X-Anvil"), response.field("X-Inner")), (Some("yes"), Some("1")));
        assert_eq!(response.text(), "WRITTEN");
    });
}

#[test]
fn the_request_handler_sees_each_request() {
    #[derive(Default)]
    struct RecordingHandler {
        logged: AtomicUsize,
    }
    impl RequestHandler for RecordingHandler {
        fn make_environ(&self, environ: &mut Environ<'_>) {
            environ.set("PATH_INFO", "/environ");
            environ.set("x.handler", "was here");
        }
        fn log_request(&self, record: &amboss_core::AccessRecord<'_>, _: &dyn amboss_core::Log) {
            assert_eq!((record.status, record.target), (200, &b"/original"[..]));
            self.logged.fetch_add(1, SeqCst);
        }
        fn server_version(&self) -> Option<&str> {
            Some("Mine/1")
        }
    }
    let handler = Arc::new(RecordingHandler::default());
    for_each_server_with(
        |settings| settings.handler = handler.clone(),
        test_app,
        |server| {
            let response = server.get("/original");
            assert!(response.text().contains("x.handler=was here\n"), "{}", response.text());
            assert!(response.text().contains("SERVER_SOFTWARE=Mine/1\n"));
            assert_eq!(response.fields("Server"), ["Mine/1"]);
        },
    );
    assert_eq!(handler.logged.load(SeqCst), 4);
}
