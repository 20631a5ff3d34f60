//! Uploads: a page with a form, which stores files in a folder and offers them for download.
//!
//! Run it with `cargo run -p amboss-toolkit --example upload [folder [address]]`, open <http://localhost:5000/>, or try:
//!
//! ```text
//! curl -i localhost:5000/ -F file=@Cargo.toml -F 'file=@README.md;filename=../../read me.md'
//! curl localhost:5000/
//! curl -i localhost:5000/files/read_me.md
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use amboss_core::{make_server, Address, Application, Concurrency, Settings};
use amboss_toolkit::form::{secure_filename, FormLimits};
use amboss_toolkit::routing::{RouteArgs, Router};
use amboss_toolkit::{request_app, HttpError, Request, Response};

const MAX_BODY: u64 = 10 << 20; // bytes of a request, and so of all its files together
const MAX_FILES: usize = 20;
type Handler = fn(&mut Request<'_, '_>, &Path) -> Result<Response, HttpError>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "uploads".into()));
    let address: Address = arguments.next().as_deref().unwrap_or("localhost:5000").parse()?;
    fs::create_dir_all(&folder)?;
    let app = Router::builder()
        .get("/", endpoint(&folder, page))
        .post("/", endpoint(&folder, store))
        .get("/files/<name>", endpoint(&folder, download))
        .build()?;
    let mut settings = Settings::default();
    settings.limits.body = Some(MAX_BODY); // the server refuses a longer body with 413 before it has arrived
    let mut server = make_server(&[address], app, Concurrency::Threads, settings)?;
    println!("listening on {}", server.local_addrs()[0]);
    Ok(server.serve_forever()?)
}

fn endpoint(folder: &Path, handler: Handler) -> impl Application {
    let folder = folder.to_owned();
    request_app(move |request| handler(request, &folder))
}

fn page(_: &mut Request<'_, '_>, folder: &Path) -> Result<Response, HttpError> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(folder)? {
        let (name, size) = entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?.len())))?;
        // Such a name needs no escaping, neither in HTML nor in a URL.
        if let Some(name) = name.to_str().filter(|name| is_stored_name(name)) {
            rows.push(format!("<li><a href=\"/files/{name}\">{name}</a>, {size} bytes\n"));
        }
    }
    rows.sort();
    Ok(Response::html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<title>Uploads</title>\n<h1>Uploads</h1>\n\
         <form method=\"post\" enctype=\"multipart/form-data\">\n\
         <input type=\"file\" name=\"file\" multiple required> <button>Upload</button>\n</form>\n<ul>\n{}</ul>\n",
        rows.concat()
    )))
}

fn store(request: &mut Request<'_, '_>, folder: &Path) -> Result<Response, HttpError> {
    let mut limits = FormLimits::default();
    limits.parts = MAX_FILES;
    request.set_form_limits(limits);
    let files = request.files()?;
    if files.is_empty() {
        return Err(HttpError::bad_request("Choose at least one file."));
    }
    for file in files {
        let name = file.secure_filename();
        if name.is_empty() {
            return Err(HttpError::bad_request("Give the file a name with letters from A to Z or digits."));
        }
        // Two names can become the same one. `create_new` replaces no file.
        let mut stored = File::create_new(folder.join(&name)).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => HttpError::new(409).with_description(format!("{name} exists already.")),
            _ => error.into(),
        })?;
        io::copy(&mut file.open(), &mut stored)?;
    }
    // After 303, reloading the page does not upload the files again.
    Ok(Response::redirect("/").with_status(303))
}

fn download(request: &mut Request<'_, '_>, folder: &Path) -> Result<Response, HttpError> {
    let name = RouteArgs::of(request.environ()).str("name");
    if !is_stored_name(name) || !folder.join(name).is_file() {
        return Err(HttpError::not_found());
    }
    // As a download, an uploaded page runs no script in the browser under this server's address.
    Ok(Response::file(folder.join(name))?.with_download_name(name))
}

/// Whether [`store`] could have given a file this name.
fn is_stored_name(name: &str) -> bool {
    !name.is_empty() && secure_filename(name) == name
}
