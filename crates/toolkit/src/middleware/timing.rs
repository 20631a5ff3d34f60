//! [`Timing`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartError, StartResponse};

/// Middleware that measures how long the application takes, up to its head and up to the end of its body.
///
/// The time up to the head is sent as `Server-Timing: app;dur=12.3`, in milliseconds, which the developer tools of
/// browsers show. [`report`](Timing::report) sets a function that gets both times, for a list of slow requests.
pub struct Timing<A> {
    app: A,
    report: Option<Arc<Report>>,
}

type Report = dyn Fn(&RequestTime<'_>) + Send + Sync;

/// How long a request took.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestTime<'r> {
    /// The method.
    pub method: &'r str,
    /// The path, percent-decoded, with bytes that are not UTF-8 replaced.
    pub path: &'r str,
    /// The time from the call of the application until it returned.
    pub call: Duration,
    /// The time from the call of the application until its body was closed, which includes the time that the client
    /// takes to receive it.
    pub total: Duration,
}

impl<A: Application> Timing<A> {
    /// Makes middleware that adds the `Server-Timing` field.
    pub fn new(app: A) -> Timing<A> {
        Timing { app, report: None }
    }

    /// Calls `report` when a request has ended, in the thread that has run it.
    #[must_use]
    pub fn report(mut self, report: impl Fn(&RequestTime<'_>) + Send + Sync + 'static) -> Timing<A> {
        self.report = Some(Arc::new(report));
        self
    }
}

impl<A: Application> Application for Timing<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let start = Instant::now();
        let request = self.report.as_ref().map(|report| {
            (report.clone(), environ.text("REQUEST_METHOD").into_owned(), environ.text("PATH_INFO").into_owned())
        });
        let result = self.app.call(environ, &mut TimedStart { inner: start_response, start });
        let call = start.elapsed();
        let Some((report, method, path)) = request else { return result };
        let ended = move || {
            report(&RequestTime { method: &method, path: &path, call, total: start.elapsed() });
        };
        match result {
            Ok(body) => Ok(body.on_close(ended)),
            Err(error) => {
                ended();
                Err(error)
            }
        }
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        self.app.is_immediate(head, before_blocking)
    }
}

/// A `start_response` that adds the time up to the head.
struct TimedStart<'s> {
    inner: &'s mut dyn StartResponse,
    start: Instant,
}

impl StartResponse for TimedStart<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let value = format!("app;dur={:.1}", self.start.elapsed().as_secs_f64() * 1000.0);
        let mut fields = fields.to_vec();
        fields.push(("Server-Timing", value.as_bytes()));
        self.inner.begin(status, &fields, error)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        self.inner.write(data)
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        self.inner.early_hints(fields)
    }

    fn flush(&mut self) -> Result<(), StartError> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, HttpError, Response};
    use amboss_core::{create_environ, run_wsgi_app};
    use std::sync::Mutex;

    #[test]
    fn the_times_of_a_request_are_sent_and_reported() {
        let app = request_app(|request| match &*request.path() {
            "/fail" => Err("x".parse::<u8>().unwrap_err().into()),
            "/gone" => Err(HttpError::new(410)),
            _ => Ok(Response::stream([b"a".to_vec()], "text/plain")),
        });
        let times = Arc::new(Mutex::new(Vec::new()));
        let reported = times.clone();
        let app = Timing::new(app).report(move |time| {
            assert!(time.total >= time.call && time.method == "GET");
            reported.lock().unwrap().push(time.path.to_owned());
        });
        let get = |path| run_wsgi_app(&app, &mut create_environ(path, "http://localhost").unwrap().environ());
        let field = |response: &amboss_core::AppResponse| {
            String::from_utf8(response.header("Server-Timing").unwrap().to_vec()).unwrap()
        };
        let milliseconds: f64 = field(&get("/a").unwrap()).strip_prefix("app;dur=").unwrap().parse().unwrap();
        assert!(milliseconds >= 0.0);
        assert_eq!(get("/gone").unwrap().status, 410);
        assert!(get("/fail").is_err());
        assert_eq!(*times.lock().unwrap(), ["/a", "/gone", "/fail"]);
    }
}
