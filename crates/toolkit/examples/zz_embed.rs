use amboss_core::ThreadedWsgiServer;
use amboss_toolkit::client::Client;
use amboss_toolkit::cookie::{Cookie, SameSite};
use amboss_toolkit::files::StaticFiles;
use amboss_toolkit::middleware::{Health, Timing};
use amboss_toolkit::routing::{RouteArgs, Router};
use amboss_toolkit::{abort, request_app, HttpError, Request, Response};

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
struct Item {
    id: u64,
    name: String,
}

fn show(request: &mut Request<'_, '_>) -> Result<Response, HttpError> {
    let id = RouteArgs::of(request.environ()).parse::<u64>("id").ok_or(abort(404))?;
    Response::json(&Item { id, name: "anvil".into() })
}

fn create(request: &mut Request<'_, '_>) -> Result<Response, HttpError> {
    let item: Item = request.json()?;
    let url = RouteArgs::of(request.environ()).url_for("item", &[("id", &item.id.to_string())])?;
    Ok(Response::json(&item)?.with_status(201).with_header("Location", url))
}

fn upload(request: &mut Request<'_, '_>) -> Result<Response, HttpError> {
    let form = request.form_data()?;
    let title = form.fields.get("title").unwrap_or("-");
    let photo = form.files.get("photo").ok_or_else(|| HttpError::bad_request("choose a photo"))?;
    Ok(Response::text(format!("{title} {} {}\n", photo.secure_filename(), photo.size())))
}

fn login(request: &mut Request<'_, '_>) -> Result<Response, HttpError> {
    let user = request.form()?.get("user").ok_or_else(|| abort(400))?.to_owned();
    Ok(Response::redirect("/me")
        .with_status(303)
        .with_cookie(Cookie::build(("user", user)).path("/").http_only(true).same_site(SameSite::Lax)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::builder()
        .get("/item/<int:id>", request_app(show))
        .name("item")
        .post("/item", request_app(create))
        .post("/upload", request_app(upload))
        .post("/login", request_app(login))
        .get("/me", request_app(|r| Ok(Response::text(r.cookies().get("user").unwrap_or("nobody").to_owned()))))
        .get(
            "/slow",
            request_app(|_| {
                std::thread::sleep(std::time::Duration::from_secs(2));
                Ok(Response::text("slow"))
            }),
        )
        .build()?;
    let app = Timing::new(Health::new(StaticFiles::new(router).folder("/static", "/tmp/wt/rv/site")?, "/healthz"));
    let app = std::sync::Arc::new(app);
    let client = Client::new(app.clone());
    let item: Item = client.get("/item/7").send()?.json()?;
    assert_eq!(item.id, 7);
    let made = client.post("/item").json(&Item { id: 8, name: "x".into() })?.send()?;
    assert_eq!((made.status(), made.header("Location")), (201, Some("/item/8")));
    assert_eq!(client.post("/item").body("{").send()?.status(), 415);
    assert_eq!(
        client.post("/upload").form(&[("title", "t")]).file("photo", "../../a b.png", vec![0; 700_000]).send()?.text(),
        "t a_b.png 700000\n"
    );
    assert_eq!(client.post("/upload").send()?.status(), 400);
    let me = client.post("/login").form(&[("user", "Ada; Lovelace")]).follow_redirects(true).send()?;
    assert_eq!(me.text(), "Ada; Lovelace");
    for (m, p) in [
        ("GET", "/item/99999999999999999999"),
        ("DELETE", "/item/1"),
        ("OPTIONS", "/item/1"),
        ("GET", "/static/../x"),
        ("GET", "/nope"),
        ("HEAD", "/item/3"),
    ] {
        let r = client.request(m, p).send()?;
        println!("{m} {p} -> {} {:?} {:?}", r.status(), r.header("Allow"), r.header("Content-Type"));
    }
    if std::env::args().nth(1).as_deref() == Some("serve") {
        ThreadedWsgiServer::bind("127.0.0.1:5909", app)?.serve_forever()?;
    }
    if std::env::args().nth(1).as_deref() == Some("immediate") {
        struct Slow;
        impl amboss_core::Application for Slow {
            fn call(
                &self,
                _: &mut amboss_core::Environ<'_>,
                s: &mut dyn amboss_core::StartResponse,
            ) -> Result<amboss_core::Body, amboss_core::AppError> {
                std::thread::sleep(std::time::Duration::from_secs(3));
                s.start("200 OK", &[])?;
                Ok(amboss_core::Body::from("slow"))
            }
            fn is_immediate(&self, _: amboss_core::http::Head<'_>) -> bool {
                true
            }
        }
        ThreadedWsgiServer::bind("127.0.0.1:5908", Slow)?.serve_forever()?;
    }
    Ok(())
}
