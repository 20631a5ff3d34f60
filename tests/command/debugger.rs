//! `--debug` with the built-in application: where it may listen, which hosts it answers, and what else it switches on.

use std::process::Command;

use amboss_testkit::{Client, TempDir};

use crate::{amboss, fails, Amboss};

/// Starts the command on a free port, in an empty directory: with `--debug` it watches the directory.
fn start(flags: &[&str]) -> (Amboss, TempDir) {
    let folder = TempDir::new("debugger");
    let mut command = amboss(&[flags, &["--bind", "127.0.0.1:0"]].concat());
    (Amboss::spawn(command.current_dir(folder.path())), folder)
}

/// Sends a GET request to the server, under the name of a host.
fn ask(server: &Amboss, path: &str, host: &str) -> String {
    let mut client = Client::connect(("127.0.0.1", server.port()));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"));
    String::from_utf8_lossy(&client.rest()).into_owned()
}

#[test]
fn debug_is_refused_on_addresses_that_other_machines_can_reach() {
    for address in ["0.0.0.0:0", "[::]:0", "*:0", "192.0.2.1:0", "example.org:0"] {
        fails(&["--debug", "--bind", address], 2, "--debug-anywhere");
    }
    fails(&["--debug", "--bind", "localhost:0", "--bind", "0.0.0.0:0"], 2, "other machines can reach 0.0.0.0:0");
}

#[test]
fn debug_anywhere_needs_debug_and_prints_a_warning() {
    fails(&["--debug-anywhere"], 2, "--debug");
    let (server, _folder) = start(&["--debug", "--debug-anywhere"]);
    assert!(server.banner.contains("WARNING: The debugger is on for other machines"), "{}", server.banner);
    assert!(ask(&server, "/", "192.0.2.1").starts_with("HTTP/1.1 200 "));
}

#[test]
fn debug_and_live_answer_only_known_hosts() {
    for flags in [&["--debug"][..], &["--live"], &["--debug", "--allowed-host", "dev.test"]] {
        let (server, _folder) = start(flags);
        for host in ["localhost", "api.localhost:5000", "127.0.0.1", "[::1]:80", "192.168.1.7"] {
            assert!(ask(&server, "/", host).starts_with("HTTP/1.1 200 "), "{flags:?} {host}");
        }
        let allowed = ask(&server, "/", "dev.test");
        assert_eq!(allowed.starts_with("HTTP/1.1 200 "), flags.contains(&"dev.test"), "{flags:?}");
        for path in ["/", "/__amboss__/live", "/__amboss__/live.js"] {
            let refused = ask(&server, path, "evil.test");
            assert!(refused.starts_with("HTTP/1.1 421 ") && refused.contains("--allowed-host evil.test"), "{refused}");
            assert!(!refused.contains("PATH_INFO") && !refused.contains("EventSource"), "{refused}");
        }
    }
    let (server, _folder) = start(&[]);
    assert!(ask(&server, "/", "any.test").starts_with("HTTP/1.1 200 "), "without --debug and --live");
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn debug_reloads_code_and_pages() {
    let (server, _folder) = start(&["--debug", "--reloader-type", "stat"]);
    assert!(ask(&server, "/", "localhost").contains("/__amboss__/live.js"));
    server.signal("TERM");
    let printed = server.banner.clone() + &server.wait().1;
    assert!(printed.contains(" * Restarting with stat"), "{printed}");
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn debug_is_refused_with_a_program() {
    fails(&["--debug", "--", "true"], 2, "the debugger of PROGRAM itself");
}

#[test]
fn curl_gets_no_word_of_the_application_under_another_name() {
    let (server, _folder) = start(&["--debug"]);
    let port = server.port();
    let resolve = format!("evil.test:{port}:127.0.0.1");
    let url = format!("http://evil.test:{port}/secret");
    let Ok(output) = Command::new("curl").args(["-sSi", "--noproxy", "*", "--resolve", &resolve, &url]).output() else {
        return println!("skipped: curl is not installed");
    };
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("wsgi"), "{answer}");
}
