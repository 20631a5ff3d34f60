//! What can't be served is refused before anything is.

use super::*;
use crate::files::{FilesErrorKind, StaticFiles};
use crate::Response;

fn app() -> StaticFiles<Response> {
    StaticFiles::new(Response::text("app"))
}

#[test]
fn a_folder_that_cant_be_served_is_an_error_that_says_what_to_do() {
    let folder = TempDir::new("errors");
    folder.write("file", "");
    for (path, expected) in
        [("none", "does not exist: create it"), ("file", "is not a folder"), ("file/a", "is not a folder")]
    {
        let error = Folder::new(folder.join(path)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = app().file("/a", folder.path()).unwrap_err();
    assert!(matches!(error.kind(), FilesErrorKind::NotAFile(_)), "{error}");
    let error = app().file("/a", folder.join("none")).unwrap_err();
    assert!(matches!(error.kind(), FilesErrorKind::Missing(_)), "{error}");
}

#[test]
fn a_prefix_is_a_path() {
    let folder = TempDir::new("errors");
    for prefix in ["", "static", "static/", "/a?b", "/a#b", "/../a", "/a/./b", "/a//b", "/a\\b", "*"] {
        let error = app().folder(prefix, folder.path()).unwrap_err();
        assert!(matches!(error.kind(), FilesErrorKind::InvalidPrefix(_)), "{prefix:?} {error}");
        assert!(error.to_string().contains("begins with a slash"), "{error}");
    }
    for prefix in ["/", "/static", "/static/", "/a/b", "/\u{e4} b"] {
        assert!(app().folder(prefix, folder.path()).is_ok(), "{prefix:?}");
    }
}

#[test]
fn a_prefix_is_given_once() {
    let folder = TempDir::new("errors");
    for (one, two) in [("/a", "/a"), ("/a", "/a/"), ("/", "/")] {
        let app = app().folder(one, folder.path()).unwrap();
        let error = app.folder(two, folder.path()).unwrap_err();
        assert!(matches!(error.kind(), FilesErrorKind::DuplicatePrefix(_)), "{error}");
    }
}
