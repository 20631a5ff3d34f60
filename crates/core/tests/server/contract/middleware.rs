//! What stands between server and application: wrapped applications, and the request handler.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use super::app;
use crate::support::*;
use amboss_core::{AppError, Application, Body, Environ, RequestHandler, StartError, StartResponse};

#[test]
fn middleware_can_stand_in_between() {
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
    everywhere(Branded(inner), |server| {
        let answer = server.get("/");
        assert_eq!((answer.field("X-Anvil"), answer.field("X-Inner")), (Some("yes"), Some("1")));
        assert_eq!(answer.text(), "WRITTEN");
    });
}

#[test]
fn the_request_handler_sees_each_request() {
    #[derive(Default)]
    struct Watching {
        logged: AtomicUsize,
    }
    impl RequestHandler for Watching {
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
    let watching = Arc::new(Watching::default());
    everywhere_with(
        |settings| settings.handler = watching.clone(),
        fixture,
        |server| {
            let answer = server.get("/original");
            assert!(answer.text().contains("x.handler=was here\n"), "{}", answer.text());
            assert!(answer.text().contains("SERVER_SOFTWARE=Mine/1\n"));
            assert_eq!(answer.fields("Server"), ["Mine/1"]);
        },
    );
    assert_eq!(watching.logged.load(SeqCst), 4);
}
