//! Three kinds of middleware around one application.
//! `cargo run -p amboss-core --example middleware [address]`

use amboss_core::{AppError, Application, Body, ByteStr, Environ, StartError, StartResponse, ThreadedWsgiServer};

/// Changes the environ: the application sees only the part of the path after /app.
struct Mount<A>(A);

impl<A: Application> Application for Mount<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        if let Some(rest) = environ.path().strip_prefix("/app").map(ByteStr::into_owned) {
            environ.set("SCRIPT_NAME", "/app");
            environ.set("PATH_INFO", rest);
        }
        self.0.call(environ, start_response)
    }
}

/// Adds a header field to every response.
struct NoSniff<A>(A);
struct Adding<'a>(&'a mut dyn StartResponse);

impl<A: Application> Application for NoSniff<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.0.call(environ, &mut Adding(start_response))
    }
}

impl StartResponse for Adding<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let added = [fields, &[("X-Content-Type-Options", &b"nosniff"[..])]].concat();
        self.0.begin(status, &added, error)
    }
    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        self.0.write(data)
    }
}

/// Responds to health checks without the application.
fn health(app: impl Application) -> impl Application {
    move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        if environ.path() != "/health" {
            return app.call(environ, start_response);
        }
        start_response.start("204 No Content", &[])?;
        Ok(Body::empty())
    }
}

fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from(format!("{}|{}\n", environ.text("SCRIPT_NAME"), environ.text("PATH_INFO"))))
}

fn main() -> Result<(), amboss_core::ServeError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".into());
    let mut server = ThreadedWsgiServer::bind(&address, health(NoSniff(Mount(app))))?;
    println!("listening on {}", server.local_addrs()[0]);
    server.serve_forever()
}
