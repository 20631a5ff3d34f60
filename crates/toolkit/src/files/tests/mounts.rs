//! Folders and files in front of an application.

use amboss_core::{AppError, Body, Environ, StartResponse};

use super::*;
use crate::files::StaticFiles;

fn echo(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    start_response.start("200 OK", &[])?;
    Ok(Body::from(format!("app {} {}", environ.method(), environ.path())))
}

type App = fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError>;

fn mounted() -> (TempDir, StaticFiles<App>) {
    let folder = TempDir::new("mounts");
    for name in ["assets/a.txt", "assets/dir/index.html", "special/b.txt", "icon.ico"] {
        folder.write(name, name);
    }
    let app = StaticFiles::new(echo as App)
        .folder("/static", folder.join("assets"))
        .and_then(|app| app.folder("/static/special/", folder.join("special")))
        .and_then(|app| app.export("/favicon.ico", folder.join("icon.ico")));
    (folder, app.unwrap())
}

#[test]
fn a_file_under_a_prefix_is_served_and_everything_else_is_the_applications() {
    let (_folder, app) = mounted();
    for (path, body) in [
        ("/static/a.txt", "assets/a.txt"),
        ("/static/special/b.txt", "special/b.txt"),
        ("/favicon.ico", "icon.ico"),
        ("/static/dir/", "assets/dir/index.html"),
        ("/", "app GET /"),
        ("/static", "app GET /static"),
        ("/static/", "app GET /static/"),
        ("/static/none.txt", "app GET /static/none.txt"),
        ("/static/../icon.ico", "app GET /static/../icon.ico"),
        ("/statics/a.txt", "app GET /statics/a.txt"),
        ("/favicon.ico/", "app GET /favicon.ico/"),
        ("/favicon.ico2", "app GET /favicon.ico2"),
        ("/Static/a.txt", "app GET /Static/a.txt"),
        ("/static%2fa.txt", "app GET /static/a.txt"),
    ] {
        assert_eq!(text(&get(&app, path)), body, "{path}");
    }
    assert_eq!(field(&get(&app, "/static/dir"), "Location"), "/static/dir/");
    let request = EnvironBuilder::new("/static/dir").base_url("http://localhost/root");
    assert_eq!(field(&send(&app, request), "Location"), "/root/static/dir/");
}

/// Relative links of the page would lead out of the folder.
#[test]
fn the_prefix_without_its_slash_is_redirected_if_the_folder_has_a_page() {
    let (folder, _) = mounted();
    let app = StaticFiles::new(echo as App).folder("/docs", folder.join("assets/dir")).unwrap();
    let response = get(&app, "/docs?x=1");
    assert_eq!((response.status, field(&response, "Location")), (308, "/docs/?x=1".into()));
    assert_eq!(text(&get(&app, "/docs/")), "assets/dir/index.html");
}

#[test]
fn a_method_is_refused_only_where_there_is_a_file() {
    let (_folder, app) = mounted();
    for (path, status) in [("/static/a.txt", 405), ("/favicon.ico", 405), ("/static/none", 200), ("/static/", 200)] {
        assert_eq!(send(&app, EnvironBuilder::new(path).method("POST")).status, status, "{path}");
    }
}

#[test]
fn a_file_that_is_deleted_or_created_later_is_noticed() {
    let (folder, app) = mounted();
    std::fs::remove_file(folder.join("icon.ico")).unwrap();
    folder.write("assets/new.txt", "new");
    assert_eq!(text(&get(&app, "/favicon.ico")), "app GET /favicon.ico");
    assert_eq!(text(&get(&app, "/static/new.txt")), "new");
}

#[test]
fn only_prefixes_are_compared_by_matches() {
    let (_folder, app) = mounted();
    for (path, matches) in [
        ("/static", true),
        ("/static/none", true),
        ("/statics", false),
        ("/", false),
        ("", false),
        ("/favicon.ico", true),
    ] {
        assert_eq!(app.matches(path.as_bytes()), matches, "{path}");
    }
}

/// A request that is immediate takes no place among the threads, so it must not reach the application.
#[test]
fn only_requests_for_files_are_immediate() {
    let (folder, app) = mounted();
    let ask = |request: EnvironBuilder| {
        let mut owned = request.build().unwrap();
        let head = owned.environ().head();
        let mut announced = false;
        (app.is_immediate(head, &mut || announced = true), announced)
    };
    let is_immediate = |request: EnvironBuilder| ask(request).0;
    for (path, announced) in [("/other", false), ("/static/a.txt", true), ("/favicon.ico", true)] {
        assert_eq!(ask(EnvironBuilder::new(path)).1, announced, "{path}: a look at the disk is announced");
    }
    for (path, expected) in [
        ("/static/a.txt", true),
        ("/static/a.txt?x=/static/none", true),
        ("/favicon.ico", true),
        ("/static/dir/", true),
        ("/static/none", false),
        ("/static/", false),
        ("/", false),
        ("/static%2fa.txt", false),
        ("/static/../static/a.txt", false),
    ] {
        assert_eq!(is_immediate(EnvironBuilder::new(path)), expected, "{path}");
    }
    assert!(!is_immediate(EnvironBuilder::new("/static/a.txt").method("POST")));

    let options = FolderOptions { spa: true, ..FolderOptions::default() };
    let spa = StaticFiles::new(echo as App).folder_with_options("/", folder.join("assets/dir"), options).unwrap();
    for (accept, expected) in [("text/html", true), ("application/json", false)] {
        let mut owned = EnvironBuilder::new("/users").field("Accept", accept).build().unwrap();
        assert_eq!(spa.is_immediate(owned.environ().head(), &mut || {}), expected, "{accept}");
    }
}

/// A listing reads the whole folder, so it takes a slot.
#[test]
fn only_the_listings_of_a_folder_are_not_immediate() {
    let (folder, _) = mounted();
    let options = FolderOptions { listing: true, ..FolderOptions::default() };
    let app = Folder::with_options(folder.join("assets"), options).unwrap();
    for (path, expected) in [("/", false), ("/dir/", true), ("/dir", true), ("/a.txt", true), ("/none/", true)] {
        let mut owned = EnvironBuilder::new(path).build().unwrap();
        assert_eq!(app.is_immediate(owned.environ().head(), &mut || {}), expected, "{path}");
    }
}

/// It can't reach the application beside the limit on threads, and it is served as it was.
#[test]
fn a_file_that_is_deleted_after_the_question_is_still_the_answer() {
    let (folder, app) = mounted();
    let mut owned = EnvironBuilder::new("/static/a.txt").build().unwrap();
    assert!(app.is_immediate(owned.environ().head(), &mut || {}));
    std::fs::remove_file(folder.join("assets/a.txt")).unwrap();
    assert_eq!(text(&get(&app, "/static/a.txt")), "assets/a.txt");
    assert_eq!(text(&get(&app, "/static/a.txt")), "app GET /static/a.txt", "and for no other request");
}

#[test]
fn what_was_found_for_one_path_is_no_answer_for_another() {
    let (folder, app) = mounted();
    folder.write("assets/b.txt", "b");
    let mut owned = EnvironBuilder::new("/static/a.txt").build().unwrap();
    for path in ["/static/b.txt", "/static/special/b.txt", "/static/none"] {
        assert!(app.is_immediate(owned.environ().head(), &mut || {}));
        assert_ne!(text(&get(&app, path)), "assets/a.txt", "{path}");
    }
    assert!(app.is_immediate(owned.environ().head(), &mut || {}));
    std::thread::sleep(std::time::Duration::from_millis(20));
    folder.write("assets/a.txt", "changed");
    assert_eq!(text(&get(&app, "/static/a.txt")), "changed", "a result is not kept");
}
