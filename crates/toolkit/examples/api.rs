//! A JSON API: notes that are kept in memory.
//!
//! Run it with `cargo run -p amboss-toolkit --features json --example api [address]`, and try:
//!
//! ```text
//! curl -i localhost:5000/notes -H 'Content-Type: application/json' -d '{"text": "buy milk"}'
//! curl localhost:5000/notes
//! curl -I localhost:5000/notes/1
//! curl -i -X OPTIONS localhost:5000/notes/1
//! curl -i -X DELETE localhost:5000/notes/1
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amboss_core::{Application, ThreadedWsgiServer};
use amboss_toolkit::routing::{RouteArgs, RouteError, Router};
use amboss_toolkit::{request_app, HttpError, Request, Response};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Note {
    #[serde(default)]
    id: i64, // the server chooses it
    text: String,
}

#[derive(Default)]
struct Notes {
    last_id: i64,
    by_id: BTreeMap<i64, Note>,
}

type Handler = fn(&mut Request<'_, '_>, MutexGuard<'_, Notes>) -> Result<Response, HttpError>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".into());
    let mut server = ThreadedWsgiServer::bind(&address, api()?)?;
    println!("listening on {}", server.local_addrs()[0]);
    Ok(server.serve_forever()?)
}

/// The router responds to HEAD and OPTIONS, and with 404 and 405.
fn api() -> Result<Router, RouteError> {
    let notes = Arc::default();
    Router::builder()
        .get("/notes", endpoint(&notes, list))
        .post("/notes", endpoint(&notes, create))
        .get("/notes/<int:id>", endpoint(&notes, read))
        .name("note")
        .delete("/notes/<int:id>", endpoint(&notes, delete))
        .build()
}

/// Makes an application of a handler, whose errors become JSON.
fn endpoint(notes: &Arc<Mutex<Notes>>, handler: Handler) -> impl Application {
    let notes = Arc::clone(notes);
    request_app(move |request| {
        let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        match handler(request, notes) {
            // The server logs a failure of the program, and the client learns nothing about it.
            Err(error) if error.status() != 500 => {
                Ok(Response::json(&BTreeMap::from([("error", error.description())]))?.with_status(error.status()))
            }
            result => result,
        }
    })
}

fn list(_: &mut Request<'_, '_>, notes: MutexGuard<'_, Notes>) -> Result<Response, HttpError> {
    Response::json(&notes.by_id.values().collect::<Vec<_>>())
}

fn create(request: &mut Request<'_, '_>, mut notes: MutexGuard<'_, Notes>) -> Result<Response, HttpError> {
    let mut note: Note = request.json()?; // 415 or 400 for any other body
    if note.text.trim().is_empty() {
        return Err(HttpError::new(422).with_description("The text of a note must not be empty."));
    }
    notes.last_id += 1;
    note.id = notes.last_id;
    let location = RouteArgs::of(request.environ()).url_for("note", &[("id", &note.id.to_string())])?;
    let response = Response::json(&note)?.with_status(201).with_header("Location", location);
    notes.by_id.insert(note.id, note);
    Ok(response)
}

fn read(request: &mut Request<'_, '_>, notes: MutexGuard<'_, Notes>) -> Result<Response, HttpError> {
    let id = RouteArgs::of(request.environ()).int("id").unwrap_or_default();
    Response::json(notes.by_id.get(&id).ok_or_else(|| not_found(id))?)
}

fn delete(request: &mut Request<'_, '_>, mut notes: MutexGuard<'_, Notes>) -> Result<Response, HttpError> {
    let id = RouteArgs::of(request.environ()).int("id").unwrap_or_default();
    notes.by_id.remove(&id).ok_or_else(|| not_found(id))?;
    Ok(Response::empty(204))
}

fn not_found(id: i64) -> HttpError {
    HttpError::not_found().with_description(format!("There is no note {id}."))
}
