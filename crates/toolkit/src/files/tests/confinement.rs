//! Nothing but regular files inside the folder is served.

use super::*;

#[test]
fn paths_that_leave_the_folder_are_not_found() {
    let (folder, _) = site(&[("secret.txt", "secret"), ("public/a.txt", "a"), ("public/.env", "hidden")], |_| {});
    let app = Folder::new(folder.join("public")).unwrap();
    let absolute = format!("/{}", folder.join("secret.txt").display());
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%5csecret.txt",
        "/..%c0%afsecret.txt",
        "/..;/secret.txt",
        "/a.txt/../../secret.txt",
        "/a.txt/../a.txt",
        "/./a.txt",
        "/a.txt%00",
        "/a.txt%00.html",
        "/a.txt/",
        "/a.txt%2f",
        "/%2fa.txt",
        "/.env",
        "/x/../.env",
        "/%2eenv",
        &absolute,
    ] {
        assert_eq!(get(&app, path).status, 404, "{path}");
    }
    assert_eq!(get(&app, "/a.txt").status, 200);
    let long = format!("/{}", "a/".repeat(3000));
    assert_eq!(get(&app, &long).status, 404);
    assert_eq!(get(&app, &format!("/{}", "a".repeat(300))).status, 404);
}

#[test]
fn hidden_files_are_served_if_they_should_be() {
    let files = [(".env", "env"), (".well-known/security.txt", "contact"), (".git/config", "git")];
    let (_folder, app) = site(&files, |_| {});
    assert_eq!(text(&get(&app, "/.well-known/security.txt")), "contact", "RFC 8615");
    assert_eq!((get(&app, "/.env").status, get(&app, "/.git/config").status), (404, 404));
    let (_folder, app) = site(&files, |options| options.hidden = true);
    assert_eq!((text(&get(&app, "/.env")), text(&get(&app, "/.git/config"))), ("env".into(), "git".into()));
    assert_eq!(get(&app, "/.git/../.env").status, 404);
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{symlink, PermissionsExt};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;

    #[test]
    fn links_are_followed_inside_the_folder_only() {
        let (folder, _) = site(&[("secret.txt", "secret"), ("public/dir/a.txt", "a")], |_| {});
        let root = folder.join("public");
        let app = Folder::new(&root).unwrap();
        for (name, target) in [
            ("inside", "dir/a.txt"),
            ("dir/up", "../dir/a.txt"),
            ("linked-dir", "dir"),
            ("outside", "../secret.txt"),
            ("far", "/etc/passwd"),
            ("parent", ".."),
            ("absolute-inside", root.join("dir/a.txt").to_str().unwrap()),
            ("absolute-dir", root.join("dir").to_str().unwrap()),
            ("latest", "absolute-dir"),
            ("absolute-parent", folder.path().to_str().unwrap()),
            ("loop", "loop"),
            ("dangling", "none"),
            ("proc", "/proc/self/root"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        for path in
            ["/inside", "/dir/up", "/linked-dir/a.txt", "/absolute-inside", "/absolute-dir/a.txt", "/latest/a.txt"]
        {
            assert_eq!(text(&get(&app, path)), "a", "{path}");
        }
        let options = FolderOptions { listing: true, ..FolderOptions::default() };
        let listed = Folder::with_options(&root, options).unwrap();
        let names = text(&get_with(&listed, "/", &[("Accept", "application/json")]));
        assert!(names.contains("\"absolute-dir\",\"type\":\"folder\"") && !names.contains("\"far\""), "{names}");
        assert!(text(&get_with(&listed, "/absolute-dir/", &[("Accept", "application/json")])).contains("\"a.txt\""));
        for path in [
            "/outside",
            "/far",
            "/parent/secret.txt",
            "/parent/public/dir/a.txt",
            "/absolute-parent/public/dir/a.txt",
            "/loop",
            "/dangling",
            "/proc/etc/passwd",
            "/parent",
            "/parent/",
        ] {
            assert_eq!(get(&app, path).status, 404, "{path}");
        }
    }

    #[test]
    fn pipes_sockets_and_devices_are_not_opened_for_long() {
        let (folder, app) = site(&[], |options| options.listing = true);
        let (pipe, socket) = (folder.join("pipe"), folder.join("socket"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        let _listener = UnixListener::bind(socket).unwrap();
        let device = rustix::fs::makedev(1, 5);
        // Only root may make a device: /dev/zero never ends.
        let path = folder.join("device");
        let has_device =
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::CharacterDevice, 0o644.into(), device)
                .is_ok();
        let started = Instant::now();
        for path in ["/pipe", "/socket", "/device", "/pipe/", "/none"] {
            assert_eq!(get(&app, path).status, 404, "{path}, with a device: {has_device}");
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(!text(&get(&app, "/")).contains("pipe"), "and they are not listed");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_forbidden() {
        let (folder, app) = site(&[("locked.txt", "")], |_| {});
        fs::set_permissions(folder.join("locked.txt"), fs::Permissions::from_mode(0o000)).unwrap();
        if File::open(folder.join("locked.txt")).is_ok() {
            amboss_testkit::skip("this user may read everything");
            return;
        }
        assert_eq!(get(&app, "/locked.txt").status, 403);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_served() {
        let (folder, app) = site(&[], |options| options.listing = true);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
        if fs::write(folder.path().join(name), "latin").is_err() {
            amboss_testkit::skip("the file system needs UTF-8");
            return;
        }
        assert_eq!(text(&get(&app, "/caf%E9.txt")), "latin");
        let page = text(&get(&app, "/"));
        assert!(page.contains("href=\"caf%E9.txt\"") && page.contains("caf\u{fffd}.txt"), "{page}");
    }

    /// Another program exchanges a file and a folder with links that leave the root, while they are requested.
    #[test]
    fn a_link_that_is_exchanged_meanwhile_never_leads_outside() {
        let (folder, _) = site(
            &[("secret/a.txt", "secret"), ("public/real/a.txt", "inside"), ("public/plain.txt", "inside")],
            |_| {},
        );
        let root = folder.join("public");
        let app = Folder::new(&root).unwrap();
        let stop = AtomicBool::new(false);
        let exchange = |link: &str, inside: &str, outside: &str| {
            for target in [inside, outside] {
                let next = root.join(format!("{}~", link));
                symlink(target, &next).unwrap();
                fs::rename(next, root.join(link)).unwrap();
            }
        };
        let swap_folders = || {
            // A real folder and a link take turns at one name.
            symlink("../secret", root.join("spare")).unwrap();
            let swap = |one: &str, two: &str| {
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, root.join(one), cwd, root.join(two), rustix::fs::RenameFlags::EXCHANGE)
            };
            while !stop.load(Ordering::Relaxed) {
                if cfg!(target_os = "linux") {
                    let _ = swap("spare", "real");
                }
                exchange("dir", "real", "../secret");
                exchange("file", "plain.txt", "../secret/a.txt");
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(swap_folders);
            let (deadline, mut served, mut refused) = (Instant::now() + Duration::from_secs(1), 0, 0);
            while Instant::now() < deadline || served == 0 || refused == 0 {
                for path in ["/real/a.txt", "/dir/a.txt", "/file", "/plain.txt"] {
                    let response = get(&app, path);
                    match response.status {
                        200 => assert_eq!(text(&response), "inside", "{path}"),
                        status => assert_eq!(status, 404, "{path}"),
                    }
                    *(if response.status == 200 { &mut served } else { &mut refused }) += 1;
                }
                if Instant::now() > deadline + amboss_testkit::DEADLINE {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(served > 0 && refused > 0, "both were met: {served} {refused}");
        });
    }
}
