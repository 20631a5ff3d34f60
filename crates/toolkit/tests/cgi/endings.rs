//! Limits hold, and no script outlives its request.

use std::time::{Duration, Instant};

use amboss_core::BodyMode;
use amboss_testkit::is_alive;

use crate::support::{wait_until_gone, ScriptServer};

const MS: Duration = Duration::from_millis(1);

/// Writes the process ids of the script and of a child, and then something.
fn with_pids(rest: &str) -> String {
    format!("#!/bin/sh\nsleep 100 &\necho $! > child\necho $$ > script\n{rest}\n")
}

#[test]
fn a_script_that_never_answers_is_killed_with_its_child() {
    let server = ScriptServer::start_with(&[("run", &with_pids("sleep 100"))], |options, _| {
        options.head_timeout = 300 * MS;
    });
    let response = server.get("/cgi/run");
    assert_eq!(response.status, 504);
    assert!(server.log.text().contains("head_timeout"), "{}", server.log.text());
    wait_until_gone(server.pid("script"));
    wait_until_gone(server.pid("child"));
}

#[test]
fn a_script_that_runs_too_long_or_writes_too_much_is_cut_and_killed() {
    for (rest, body) in [("sleep 100", Some("x")), ("exec cat /dev/zero", None)] {
        let script = with_pids(&format!("printf 'Content-Type: text/plain\\n\\nx'; {rest}"));
        let server = ScriptServer::start_with(&[("run", &script)], |options, _| {
            (options.run_timeout, options.max_output) = (Duration::from_secs(2), 1_000_000);
        });
        let response = server.get("/cgi/run");
        assert!(response.status == 200 && !response.complete && response.body.len() <= 1_000_000, "{rest}");
        assert!(body.is_none_or(|body| response.text() == body), "{rest}");
        wait_until_gone(server.pid("script"));
        wait_until_gone(server.pid("child"));
    }
}

#[test]
fn the_head_of_a_script_is_limited() {
    let script = "#!/bin/sh\nexec yes 'X: y'\n";
    for fields in [10, 1_000_000] {
        let server = ScriptServer::start_with(&[("run", script)], |options, _| options.max_fields = fields);
        assert_eq!(server.get("/cgi/run").status, 502);
        let limit = if fields == 10 { "max_fields" } else { "max_head" };
        assert!(server.log.text().contains(limit), "{}", server.log.text());
    }
}

#[test]
fn a_client_that_leaves_takes_the_script_and_its_child_along() {
    // Before the head, after the first block, and in the middle of a streamed body.
    let start = "printf 'Content-Type: text/plain\\n\\nx'";
    for (rest, mode) in [("", BodyMode::Collect), (start, BodyMode::Collect), (start, BodyMode::Stream)] {
        let script = with_pids(&format!("{rest}\nsleep 100"));
        let server = ScriptServer::start_with(&[("run", &script)], |_, settings| settings.body_mode = mode);
        let mut client = server.connect();
        match mode {
            BodyMode::Stream => client.send("POST /cgi/run HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"),
            _ => client.send_get("/cgi/run"),
        }
        let (script, child) = (server.pid("script"), server.pid("child"));
        assert!(is_alive(script) && is_alive(child));
        drop(client);
        wait_until_gone(script);
        wait_until_gone(child);
        let log = server.log.text();
        assert!(log.lines().all(|line| line.contains("the client")), "the script is not to blame: {log}");
    }
}

#[test]
fn a_script_that_writes_without_end_ends_with_its_client() {
    let script = with_pids("printf 'Content-Type: text/plain\\n\\n'; exec cat /dev/zero");
    let server = ScriptServer::start_with(&[("run", &script)], |options, _| options.max_output = u64::MAX);
    let mut client = server.connect();
    client.send_get("/cgi/run");
    client.exactly(1 << 20);
    drop(client);
    wait_until_gone(server.pid("script"));
    wait_until_gone(server.pid("child"));
}

#[test]
fn the_response_ends_with_the_script_though_a_child_keeps_its_output_open() {
    let server = ScriptServer::start(&[("run", &with_pids("printf 'Content-Type: text/plain\\n\\nx'"))]);
    let response = server.get("/cgi/run");
    assert!(response.complete && response.text() == "x");
    wait_until_gone(server.pid("script"));
    wait_until_gone(server.pid("child"));
}

#[test]
fn a_script_that_closes_its_output_has_some_time_to_end() {
    // The child does not keep the output open, so only the end of the script tells.
    let with_quiet_child = |rest: &str| with_pids(rest).replace("100 &", "100 >/dev/null &");
    let finishing =
        with_quiet_child("printf 'Content-Type: text/plain\\n\\nx'; exec >&-; sleep 0.2; echo yes > finished");
    let staying = with_quiet_child("printf 'Content-Type: text/plain\\n\\nx'; exec >&- 2>&-; sleep 100");
    let server = ScriptServer::start_with(&[("finishing", &finishing), ("staying", &staying)], |options, _| {
        options.exit_timeout = 1000 * MS;
    });
    let start = Instant::now();
    assert_eq!(server.get("/cgi/finishing").text(), "x");
    assert!(server.dir.join("finished").exists());
    assert_eq!(server.get("/cgi/staying").text(), "x");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(server.log.text().contains("exit_timeout"), "{}", server.log.text());
    wait_until_gone(server.pid("script"));
    wait_until_gone(server.pid("child"));
}

#[test]
fn a_server_that_ends_takes_its_scripts_along() {
    let script = with_pids("printf 'Content-Type: text/plain\\n\\nx'; sleep 100");
    let mut server = ScriptServer::start_with(&[("run", &script)], |_, settings| {
        settings.timeouts.shutdown = 200 * MS;
    });
    let mut client = server.connect();
    client.send_get("/cgi/run");
    client.until("x\r\n");
    server.stop();
    wait_until_gone(server.pid("script"));
    wait_until_gone(server.pid("child"));
}

/// Reports how many scripts run beside it.
const COUNT: &str = "#!/bin/sh
mkdir -p running; : > running/$$; sleep 0.05
printf \"Content-Type: text/plain\\n\\n$(ls running | wc -l)\"; rm running/$$
";

#[test]
fn a_hundred_requests_at_once_run_a_few_scripts_at_a_time() {
    let server = ScriptServer::start_with(&[("run", COUNT)], |options, _| {
        (options.max_running, options.queue_timeout) = (4, Duration::from_secs(60));
    });
    let counts: Vec<u32> = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..100).map(|_| scope.spawn(|| server.get("/cgi/run"))).collect();
        requests.into_iter().map(|request| request.join().unwrap().text().trim().parse().unwrap()).collect()
    });
    assert!(counts.iter().all(|count| (1..=4).contains(count)), "{counts:?}");
    assert_eq!(counts.len(), 100);
}

#[test]
fn a_request_for_which_there_is_no_room_gets_503() {
    let script = "#!/bin/sh\n: > started\nwhile [ ! -e go ]; do sleep 0.01; done\nprintf 'Status: 204\\n\\n'\n";
    let server = ScriptServer::start_with(&[("run", script)], |options, _| {
        (options.max_running, options.queue_timeout) = (1, 10 * MS);
    });
    let mut first = server.connect();
    first.send_get("/cgi/run");
    amboss_testkit::wait_until("the first script runs", || server.dir.join("started").exists());
    let refused = server.get("/cgi/run");
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
    server.dir.write("go", "");
    assert_eq!(first.response().status, 204);
    assert_eq!(server.get("/cgi/run").status, 204);
}

#[cfg(target_os = "linux")]
#[test]
fn a_script_inherits_no_descriptors() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; exec ls -l /proc/self/fd/\n";
    let server = ScriptServer::start(&[("run", script)]);
    // Other connections are open at the same time.
    let _others: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let text = server.get("/cgi/run").text();
    let fds = text.lines().filter_map(|line| Some(line.split_once(" -> ")?.0.rsplit_once(' ')?.1));
    // Cargo leaves some descriptors open in this process, and a script inherits those.
    let mut others: Vec<_> = fds.filter(|fd| fd.parse().is_ok_and(|fd: u32| fd > 2) && !is_inheritable(fd)).collect();
    // The folder that `ls` reads.
    others.pop();
    assert!(!text.contains("socket:") && text.contains("pipe:") && others.is_empty(), "{others:?}\n{text}");
}

/// Whether a descriptor of this process lacks FD_CLOEXEC, which proc(5) shows among the flags.
#[cfg(target_os = "linux")]
fn is_inheritable(fd: &str) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2000000 == 0)
}
