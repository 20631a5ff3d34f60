//! A folder that is replaced while it is served.

use std::fs;

use amboss_testkit::wait_until;

use super::*;

#[test]
fn a_folder_that_is_deleted_and_created_again_is_served() {
    let parent = TempDir::new("replaced");
    parent.write("dist/a.txt", "old");
    let app = Folder::new(parent.join("dist")).unwrap();
    assert_eq!(text(&get(&app, "/a.txt")), "old");
    fs::remove_dir_all(parent.join("dist")).unwrap();
    assert_eq!(get(&app, "/a.txt").status, 404);
    parent.write("dist/a.txt", "new");
    wait_until("the new folder is served", || get(&app, "/a.txt").body == b"new");
}

#[test]
fn a_folder_that_is_moved_away_is_served_no_longer() {
    let parent = TempDir::new("replaced");
    parent.write("dist/a.txt", "old");
    let app = Folder::new(parent.join("dist")).unwrap();
    fs::rename(parent.join("dist"), parent.join("backup")).unwrap();
    wait_until("the old folder is gone", || get(&app, "/a.txt").status == 404);
    parent.write("dist", "a file now");
    assert_eq!(get(&app, "/a.txt").status, 404);
    fs::remove_file(parent.join("dist")).unwrap();
    fs::rename(parent.join("backup"), parent.join("dist")).unwrap();
    wait_until("it is back", || get(&app, "/a.txt").body == b"old");
}

#[test]
#[cfg(unix)]
fn a_link_that_is_exchanged_is_followed() {
    let parent = TempDir::new("replaced");
    parent.write("v1/a.txt", "1");
    parent.write("v2/a.txt", "2");
    std::os::unix::fs::symlink("v1", parent.join("current")).unwrap();
    let app = Folder::new(parent.join("current")).unwrap();
    assert_eq!(text(&get(&app, "/a.txt")), "1");
    std::os::unix::fs::symlink("v2", parent.join("next")).unwrap();
    fs::rename(parent.join("next"), parent.join("current")).unwrap();
    wait_until("the second version is served", || get(&app, "/a.txt").body == b"2");
}
