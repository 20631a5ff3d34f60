//! Tests of folders and mounts without a socket.

mod answers;
mod confinement;
mod errors;
mod listing;
mod mounts;
mod ranges;
mod replaced_root;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use amboss_core::{run_wsgi_app, AppResponse, Application, EnvironBuilder};
pub use amboss_testkit::TempDir;

use super::{Folder, FolderOptions};

/// Makes a folder with these files, and a server of it.
fn site(files: &[(&str, &str)], change: impl FnOnce(&mut FolderOptions)) -> (TempDir, Folder) {
    let folder = TempDir::new("site");
    for (name, text) in files {
        folder.write(name, text);
        settle(&folder.join(name));
    }
    let mut options = FolderOptions::default();
    change(&mut options);
    let app = Folder::with_options(folder.path(), options).unwrap();
    (folder, app)
}

/// Makes a file look as if it had been changed an hour ago, so that it has a strong entity tag.
fn settle(path: &Path) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
}

fn send(app: &impl Application, request: EnvironBuilder) -> AppResponse {
    run_wsgi_app(app, &mut request.build().unwrap().environ()).unwrap()
}

fn get(app: &impl Application, path: &str) -> AppResponse {
    send(app, EnvironBuilder::new(path))
}

fn get_with(app: &impl Application, path: &str, fields: &[(&str, &str)]) -> AppResponse {
    let add = |request: EnvironBuilder, (name, value): &(&str, &str)| request.field(*name, *value);
    send(app, fields.iter().fold(EnvironBuilder::new(path), add))
}

fn field(response: &AppResponse, name: &str) -> String {
    String::from_utf8_lossy(response.header(name).unwrap_or_default()).into_owned()
}

fn text(response: &AppResponse) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}
