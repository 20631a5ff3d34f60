//! Where settings come from: flags, the environment, files, and which of them counts.

use std::process::Command;

use amboss_testkit::TempDir;

use crate::{amboss, get, Amboss};

/// Returns the command in a directory with this `amboss.toml`.
fn configured(dir: &TempDir, toml: &str, arguments: &[&str]) -> Command {
    dir.write("amboss.toml", toml);
    let mut command = amboss(arguments);
    command.current_dir(dir.path());
    command
}

/// Runs a command to its end; returns its exit code and its output, that of stdout first.
fn finish(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Asserts that a command fails with exit code 2 and this message.
#[track_caller]
fn refuses(command: &mut Command, message: &str) {
    let (code, output) = finish(command);
    assert!(code == Some(2) && output.contains(message), "{code:?}: {output}");
}

/// Returns the lines of `--print-config` for values that were given, without the spaces of the columns.
fn printed(command: &mut Command) -> Vec<String> {
    let (code, output) = finish(command.arg("--print-config"));
    assert_eq!(code, Some(0), "{output}");
    let given = output.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    given.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_flag_counts_more_than_a_variable_and_that_more_than_a_file() {
    let dir = TempDir::new("config");
    dir.write("one/file", "one");
    dir.write("two/file", "two");
    dir.write("three/file", "three");
    let toml = "app = './one'\nbind = 'localhost:0'\nquiet = false\n";
    let body = |command: &mut Command| {
        let server = Amboss::spawn(command);
        let mut client = crate::connect(server.port());
        client.get("/file").text()
    };
    assert_eq!(body(&mut configured(&dir, toml, &[])), "one");
    assert_eq!(body(configured(&dir, toml, &[]).env("AMBOSS_APP", "./two")), "two");
    assert_eq!(body(configured(&dir, toml, &["./three"]).env("AMBOSS_APP", "./two")), "three");
    assert_eq!(body(configured(&dir, "bind = 1", &["--no-config", "-p", "0", "./two"]).env("AMBOSS_X", "")), "two");
}

#[test]
fn the_printed_configuration_names_each_source_and_is_a_file_itself() {
    let dir = TempDir::new("config");
    let toml = "threads = 8\nbacklog = 5\n[timeouts]\nidle = 2.5\n[limits]\nbody = '10M'\n";
    let expected = [
        "bind = [\"localhost:0\", \"unix:/x\"] # command line",
        "backlog = 6 # AMBOSS_BACKLOG",
        "threads = 8 # amboss.toml, line 1",
        "[timeouts]",
        "idle = \"2.5\" # amboss.toml, line 4",
        "[limits]",
        "body = \"10M\" # amboss.toml, line 6",
    ];
    let mut command = configured(&dir, toml, &["-b", "localhost:0", "-b", "unix:/x"]);
    command.env("AMBOSS_BACKLOG", "6");
    assert_eq!(printed(&mut command), expected);

    let (_, file) = finish(&mut command);
    let values = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line.split(" #").next().unwrap_or_default().to_owned()).collect()
    };
    let again = printed(&mut configured(&dir, &file, &[]));
    assert_eq!(values(again), values(expected.map(String::from).into()));
}

#[test]
fn a_python_project_has_a_table_for_amboss() {
    let dir = TempDir::new("config");
    dir.write("pyproject.toml", "[project]\nname = 'shop'\n[tool.amboss]\nthreads = 3\n");
    let mut command = amboss(&[]);
    assert_eq!(
        printed(command.current_dir(dir.path())),
        ["threads = 3 # pyproject.toml, line 4", "[timeouts]", "[limits]"]
    );
    // The file of its own counts more.
    assert_eq!(printed(&mut configured(&dir, "", &[])), ["[timeouts]", "[limits]"]);
    // A file that does not concern amboss may be malformed.
    std::fs::remove_file(dir.join("amboss.toml")).expect("the file is there");
    dir.write("pyproject.toml", "[project");
    assert_eq!(printed(amboss(&[]).current_dir(dir.path())), ["[timeouts]", "[limits]"]);
}

#[test]
fn the_command_line_names_another_file() {
    let dir = TempDir::new("config");
    dir.write("other.toml", "threads = 4\n");
    dir.write("gunicorn.conf.py", "workers = 2\n");
    let command = |arguments: &[&str]| configured(&dir, "threads = 'none'", arguments);
    assert_eq!(printed(&mut command(&["-c", "other.toml"]))[0], "threads = 4 # other.toml, line 1");
    refuses(&mut command(&["-c", "absent.toml"]), "there is no configuration file 'absent.toml'; create it, or fix");
    refuses(&mut command(&["-c", "gunicorn.conf.py"]), "`amboss migrate gunicorn -c gunicorn.conf.py` prints");
    refuses(
        &mut command(&[]),
        "invalid value 'none' for threads (amboss.toml, line 1): give a whole number in 1..=10000",
    );
}

#[test]
fn a_check_tells_what_is_wrong_and_does_not_serve() {
    let dir = TempDir::new("config");
    let check = |toml: &str, arguments: &[&str]| {
        let mut command = configured(&dir, toml, &[&["--check-config"], arguments].concat());
        finish(&mut command)
    };
    assert_eq!(check("threads = 3", &[]), (Some(0), "amboss: the configuration is valid\n".into()));
    let unused =
        "amboss: spa (amboss.toml, line 1) has no effect: --spa is for a folder of files; name one, as in amboss \
                  ./site\namboss: the configuration is valid\n";
    assert_eq!(check("spa = true", &[]), (Some(0), unused.into()));
    #[cfg(all(unix, feature = "reload"))]
    assert!(check("", &["--", "./nope"]).1.contains("there is no program './nope'"));
    let (code, output) = check("error-logfile = 'e.log'", &[]);
    assert!(code == Some(0) && !dir.join("e.log").exists(), "{output}");
    for (toml, message) in [
        (
            "statsd_host = 'a:1'",
            "there is no setting statsd-host; it is a setting of gunicorn; amboss sends no metrics yet",
        ),
        ("error-logfile = '/not/there/log'", "name a file in an existing directory"),
        ("thread = 3", "error: amboss.toml, line 1: there is no setting thread; did you mean threads?\n"),
        ("keep-alive = 3", "there is no setting keep-alive; it is written as timeouts.idle"),
        (
            "threads = 3\nsingle = true\n",
            "'threads (amboss.toml, line 1)' cannot be used with 'single (amboss.toml, line 2)'",
        ),
        ("body-directory = '/not/there'", "/not/there is not a directory"),
        ("app = './not-there'", "not-there"),
        ("debug = true\nbind = '0.0.0.0:0'", "--debug-anywhere"),
        ("static = ['/a=./not-there']", "not-there"),
    ] {
        let (code, output) = check(toml, &[]);
        assert!(code == Some(2) && output.contains(message), "{toml}: {code:?}: {output}");
    }
    let (code, output) =
        finish(configured(&dir, "", &["--check-config"]).env("AMBOSS_THREAD", "1").env("AMBOSS_PRT", "1"));
    assert!(code == Some(2) && output.contains("did you mean AMBOSS_PORT?\nerror: "), "{output}");
    assert!(output.contains("did you mean AMBOSS_THREADS?"), "{output}");
}

#[test]
fn platforms_give_the_port_and_the_number_of_workers() {
    let server = Amboss::spawn(amboss(&[]).env("PORT", "0"));
    assert!(server.banner.contains("Running on all addresses (0.0.0.0)"), "{}", server.banner);
    assert!(get(server.port(), "").starts_with("HTTP/1.1 200"));
    let server = Amboss::spawn(amboss(&["-b", "127.0.0.1:0"]).env("PORT", "nonsense"));
    assert!(get(server.port(), "").starts_with("HTTP/1.1 200"));
    refuses(amboss(&[]).env("PORT", "nonsense"), "invalid value 'nonsense' of PORT: give a whole number in 0..=65535");
    let server = Amboss::spawn(amboss(&["--debug"]).env("PORT", "0"));
    assert!(!server.banner.contains("0.0.0.0"), "{}", server.banner);
    #[cfg(all(unix, feature = "reload"))]
    {
        let mut command = amboss(&["-w", "1"]);
        assert_eq!(printed(command.env("WEB_CONCURRENCY", "3"))[0], "workers = 1 # command line");
        let dir = TempDir::new("config");
        let mut command = configured(&dir, "workers = 2", &[]);
        assert_eq!(printed(command.env("WEB_CONCURRENCY", "3"))[0], "workers = 3 # WEB_CONCURRENCY");
    }
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn a_switch_of_a_file_is_switched_off_on_the_command_line() {
    use crate::running::{amboss_in, Running};

    let dir = TempDir::new("config");
    dir.write("site/file", "one");
    dir.write("amboss.toml", "app = './site'\nbind = 'localhost:0'\nreload = true\n");
    for (flags, workers) in [(&[][..], 1), (&["--no-reload"][..], 0)] {
        let server = Running::start(&mut amboss_in(&dir, flags));
        assert_eq!(crate::connect(server.port()).get("/file").text(), "one");
        assert_eq!(server.workers().len(), workers, "{flags:?}");
    }
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn workers_get_the_configuration_of_the_supervisor() {
    use crate::running::{amboss_in, Running};
    use amboss_testkit::{send_signal, wait_for};

    let dir = TempDir::new("config");
    dir.write("one/file", "one");
    dir.write("amboss.toml", "app = './one'\nbind = 'localhost:0'\nworkers = 2\n");
    let server = Running::start(amboss_in(&dir, &[]).env("AMBOSS_QUEUE_TIMEOUT", "5"));
    // A worker that is started now would not start with this file.
    dir.write("amboss.toml", "xyzzy = 1\n");
    let workers = server.workers();
    send_signal(workers[0], "KILL");
    wait_for("another worker is there", || {
        let now = server.workers();
        (now.len() == 2 && !now.contains(&workers[0])).then_some(())
    });
    for _ in 0..10 {
        assert!(crate::connect(server.port()).get("/file").text() == "one");
    }
    assert!(!server.output().contains("xyzzy"), "{}", server.output());
}

#[test]
fn a_dot_serves_what_the_directory_contains_and_says_so() {
    let dir = TempDir::new("config");
    let start = || Amboss::spawn(configured(&dir, "port = 0", &["."]).env("AMBOSS_QUIET", "0"));
    let page = |server: &Amboss, path: &str| crate::connect(server.port()).get(path).text();
    let server = start();
    assert!(server.banner.contains(" * found no application and no index.html; serving the test application\n"));
    assert!(page(&server, "/").contains("Try next"), "{}", server.banner);
    dir.write("index.html", "a folder");
    let server = start();
    assert!(server.banner.contains(" * index.html is there; serving this folder\n"), "{}", server.banner);
    assert_eq!(page(&server, "/"), "a folder");
    // The folder of a project is served only by its path.
    dir.write("pyproject.toml", "");
    let server = start();
    assert!(server.banner.contains("a folder with pyproject.toml is not served as files"), "{}", server.banner);
    assert!(page(&server, "/").contains("Try next"));
    let server = Amboss::spawn(&mut configured(&dir, "port = 0", &["./"]));
    assert_eq!(page(&server, "/"), "a folder");
    for name in ["amboss.toml", "AMBOSS.toml", "amboss%2etoml"] {
        assert_eq!(crate::connect(server.port()).get(&format!("/{name}")).status, 404, "{name}");
    }
    // A file may look, too, and a flag counts more.
    let server = Amboss::spawn(&mut configured(&dir, "port = 0\napp = '.'", &[]));
    assert!(server.banner.contains("is not served as files"), "{}", server.banner);
    dir.write("app.py", "def create_app():\n    pass\n");
    let lines = printed(&mut configured(&dir, "", &["."]));
    assert_eq!(lines[0], "app = \"app.py:create_app()\" # command line");
    dir.write("manage.py", "");
    refuses(&mut configured(&dir, "", &["."]), "manage.py names no DJANGO_SETTINGS_MODULE; name the application");
}

#[test]
fn without_an_application_the_test_application_names_the_dot() {
    let server = Amboss::spawn(&mut amboss(&["-p", "0"]));
    assert!(server
        .banner
        .starts_with(" * Serving the test application; to serve the application of this directory: amboss .\n"));
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn a_dot_builds_and_serves_the_program_of_a_cargo_project() {
    use crate::running::{amboss_in, test_dir, Running};

    let dir = test_dir();
    let program = r#"
        use std::{io::{Read, Write}, net::TcpListener, os::fd::FromRawFd};
        fn main() {
            let listener = unsafe { TcpListener::from_raw_fd(3) };
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.read(&mut [0; 1000]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nrust");
            }
        }
    "#;
    dir.write("Cargo.toml", "[package]\nname = 'shop'\nedition = '2021'\n[workspace]\n");
    dir.write("src/main.rs", program);
    let server = Running::start(&mut amboss_in(&dir, &[".", "-p", "0"]));
    assert!(server.output().contains(" * Cargo.toml has a program; building and serving "), "{}", server.output());
    assert!(server.wait_for_response("rust").starts_with("HTTP/1.1 200 OK"));
    drop(server);
    dir.write("src/bin/other.rs", "fn main() {}");
    let output = amboss_in(&dir, &["."]).output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && text.contains("has the programs other, shop; name one, as in amboss"),
        "{text}"
    );
}
