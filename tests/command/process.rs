//! The process: its directory, environment, user and name.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use amboss_testkit::{skip, wait_until, TempDir};

use crate::running::{amboss_in, read, test_dir, Running};
use crate::{amboss, connect, fails};

/// Writes a CGI script that prints what this shell command prints.
fn script(dir: &TempDir, command: &str) -> String {
    dir.write_program("cgi/run", &format!("#!/bin/sh\necho Content-Type: text/plain\necho\n{command}\n"));
    for (name, mode) in [("cgi", 0o755), (".", 0o755)] {
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(mode)).expect("the file is the test's");
    }
    format!("/={}", dir.join_str("cgi"))
}

#[test]
fn the_directory_is_changed_before_its_file_is_read_and_paths_are_used() {
    let dir = test_dir();
    dir.write("project/site/file", "one");
    dir.write("project/amboss.toml", "app = './site'\nport = 0\n");
    dir.write("elsewhere.toml", "app = './site'\nport = 0\nchdir = 'project'\n");
    for arguments in [&["--chdir", "project"][..], &["-c", "elsewhere.toml"]] {
        let server = Running::start(&mut amboss_in(&dir, arguments));
        assert_eq!(connect(server.port()).get("/file").text(), "one", "{arguments:?}");
    }
    fails(&["--chdir", "/not/there"], 2, "can't change to the directory '/not/there' of --chdir <DIRECTORY>: ");
}

#[test]
fn variables_of_files_and_flags_reach_the_application() {
    let dir = test_dir();
    dir.write("one.env", "# comment\nexport FIRST='a b'\nSECOND=file\nTHIRD=file\nHOME=/changed\n");
    dir.write("two.env", "SECOND=other\nFOURTH=four\n");
    dir.write("bad.env", "A=1\nPASSWORD=top secret value\n");
    dir.write("nul.env", "A=\"\0\"\n");
    let print = "echo \"<$FIRST|$SECOND|$THIRD|$FOURTH|$HOME>\"; exec sleep 60";
    let flags =
        ["-p", "0", "--env-file", "one.env", "--env-file", "two.env", "-e", "THIRD=flag", "-e", "AMBOSS_THREADS=x"];
    let server =
        Running::start(amboss_in(&dir, &[&flags[..], &["--", "sh", "-c", print]].concat()).env("HOME", "/home"));
    server.wait_for_output("<a b|file|flag|four|/home>");
    server.wait_for_output("AMBOSS_THREADS of --env or --env-file is for the application, and no setting of amboss");
    for (flags, message) in [
        (["--env", "NAME"], "write it as NAME=VALUE, as in DJANGO_SETTINGS_MODULE=shop.settings"),
        (["--env-file", "not/there"], "can't read --env-file not/there: "),
    ] {
        fails(&flags, 2, message);
    }
    let output = amboss_in(&dir, &["--env-file", "bad.env"]).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        printed.contains("--env-file bad.env, line 2: write NAME=VALUE") && !printed.contains("secret"),
        "{printed}"
    );
    let output = amboss_in(&dir, &["--env-file", "nul.env"]).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn the_pid_file_names_the_process_while_it_runs() {
    let dir = test_dir();
    for flags in [&["-p", "0", "--pid", "amboss.pid"][..], &["-p", "0", "--pid", "amboss.pid", "-w", "2"]] {
        // No process has this number, which is above the system's maximum.
        dir.write("amboss.pid", "4194999\n");
        let mut server = Running::start(&mut amboss_in(&dir, flags));
        assert_eq!(read(&dir, "amboss.pid"), format!("{}\n", server.pid()));
        let second = amboss_in(&dir, flags).output().expect("the command runs");
        let message = format!("the process {} in the PID file 'amboss.pid' is running; stop it", server.pid());
        let printed = String::from_utf8_lossy(&second.stderr);
        assert!(second.status.code() == Some(2) && printed.contains(&message), "{printed}");
        assert_eq!(read(&dir, "amboss.pid"), format!("{}\n", server.pid()));
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
        assert!(!dir.join("amboss.pid").exists());
    }
    fails(&["-p", "0", "--pid", "/not/there/pid"], 2, "name a file in an existing directory");
    fails(&["-p", "/run/amboss.pid"], 2, "the PID file, -p of gunicorn, is --pid");
    // Also when a second CTRL+C ends the server while a request runs.
    let mount = script(&dir, ": > started; exec sleep 30");
    let flags = ["-p", "0", "--pidfile", "amboss.pid", "--umask", "0", "--cgi", &mount];
    let mut server = Running::start(&mut amboss_in(&dir, &flags));
    assert_eq!(dir.join("amboss.pid").metadata().expect("it is there").mode() & 0o777, 0o644);
    let mut client = connect(server.port());
    client.send_get("/run");
    wait_until("the request runs", || dir.join("cgi/started").exists());
    server.signal("INT");
    server.wait_for_output("press CTRL+C again");
    wait_until("the server has ended", || {
        server.signal("INT");
        std::thread::sleep(std::time::Duration::from_millis(50));
        !dir.join("amboss.pid").exists()
    });
    assert_eq!(server.exit_code(), Some(130));
}

#[test]
fn the_umask_and_the_mode_of_unix_sockets_apply() {
    let dir = test_dir();
    let mode = |name: &str| dir.join(name).metadata().expect("the socket is there").mode() & 0o777;
    let start = |flags: &[&str]| Running::start(&mut amboss_in(&dir, &[&["-b", "unix:socket"], flags].concat()));
    {
        let _server = start(&["--umask", "027"]);
        assert!(dir.join("socket").metadata().expect("the socket is there").file_type().is_socket());
        assert_eq!(mode("socket"), 0o750);
    }
    {
        let _server = start(&["--umask", "077", "--unix-mode", "666"]);
        assert_eq!(mode("socket"), 0o666);
    }
    fails(&["--umask", "9"], 2, "give permissions in octal, as in 660 or 007");
}

#[cfg(target_os = "linux")]
#[test]
fn processes_have_the_name() {
    let dir = test_dir();
    let server = Running::start(&mut amboss_in(&dir, &["-p", "0", "-w", "2", "--name", "shop-with-a-long-name"]));
    let comm = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_eq!(comm(server.pid()), "shop-with-a-lon\n");
    wait_until("both workers have the name", || {
        let workers = server.workers();
        workers.len() == 2 && workers.iter().all(|pid| comm(*pid) == "shop-with-a-lon\n")
    });
}

#[cfg(target_os = "linux")]
#[test]
fn root_gives_up_its_rights_before_requests_run() {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    if id(&["-u"]) != "0" || id(&["-u", "nobody"]).is_empty() {
        skip("only root can become another user");
        return;
    }
    let dir = test_dir();
    let mount = script(&dir, "id -u; id -g; id -G");
    let (user, group, groups) = (id(&["-u", "nobody"]), id(&["-g", "nobody"]), id(&["-G", "nobody"]));
    for workers in ["1", "2"] {
        let flags = [
            "-b",
            "localhost:0",
            "-b",
            "unix:socket",
            "--log-file",
            "log",
            "--pid",
            "pid",
            "-w",
            workers,
            "--cgi",
            &mount,
        ];
        let server = Running::start(&mut amboss_in(&dir, &[&flags[..], &["--user", "nobody"]].concat()));
        let response = connect(server.port()).get("/run");
        assert!(response.text().starts_with(&format!("{user}\n{group}\n{groups}\n")), "{}", response.text());
        // The supervisor stays root, and so does its file.
        let owner = if workers == "1" { &*user } else { "0" };
        assert_eq!(dir.join("pid").metadata().expect("it is there").uid().to_string(), owner);
        for name in ["socket", "log"] {
            assert_eq!(dir.join(name).metadata().expect("it is there").uid().to_string(), user, "{name}");
        }
        wait_until("the request is in the log", || read(&dir, "log").contains("/run"));
        drop(server);
        // A log that another process has created keeps its owner.
        std::fs::remove_file(dir.join("log")).expect("the file is the test's");
        dir.write("log", "");
        let server =
            Running::start(&mut amboss_in(&dir, &[&flags[..], &["--user", "4711", "--group", "4712"]].concat()));
        assert!(connect(server.port()).get("/run").text().starts_with("4711\n4712\n4712\n"));
        assert_eq!(dir.join("log").metadata().expect("it is there").uid(), 0);
        drop(server);
        // The group alone.
        let server = Running::start(&mut amboss_in(&dir, &[&flags[..], &["--group", &group]].concat()));
        assert!(connect(server.port()).get("/run").text().starts_with(&format!("0\n{group}\n{group}\n")));
        drop(server);
        std::fs::remove_file(dir.join("log")).expect("the file is the test's");
    }
    fails(&["--user", "no-such-user"], 2, "there is no user 'no-such-user'; create it, or name another one");
    fails(&["--group", "no-such-group"], 2, "there is no group 'no-such-group'");
    fails(&["--user", "4711"], 2, "the user 4711 has no entry with a group; add --group, or create the user");
    // As another user than root.
    let binary = env!("CARGO_BIN_EXE_amboss");
    let command = format!("exec '{binary}' -p 0 --user root");
    let output = Command::new("setpriv").args(["--reuid", "nobody", "--clear-groups", "sh", "-c", &command]).output();
    match output {
        Ok(output) if Path::new(binary).exists() && output.status.code() != Some(126) => {
            let printed = String::from_utf8_lossy(&output.stderr);
            assert!(printed.contains("start it as root, or leave out --user and --group"), "{printed}");
        }
        _ => skip("setpriv can't run the command as another user"),
    }
}

#[test]
fn the_application_is_below_the_root_path() {
    let dir = test_dir();
    dir.write("files/logo", "logo");
    let mount = format!("/static={}", dir.join_str("files"));
    let server = Running::start(&mut amboss(&["-p", "0", "--root-path", "/shop", "--static", &mount]));
    for path in ["/cart", "/shop/cart"] {
        let mut client = connect(server.port()).with_fields("Accept: application/json\r\n");
        let environ = client.get(path).text();
        assert!(
            environ.contains("\"SCRIPT_NAME\": \"/shop\"") && environ.contains("\"PATH_INFO\": \"/cart\""),
            "{environ}"
        );
    }
    for path in ["/static/logo", "/shop/static/logo"] {
        assert_eq!(connect(server.port()).get(path).text(), "logo", "{path}");
    }
    fails(&["--root-path", "shop"], 2, "write a path, as in /shop");
}
