//! HTTPS by flags, tried with curl.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{amboss, fails, Amboss};

/// A folder of its own for certificates, removed with the test.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("amboss-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("it can be made");
        Home(path)
    }

    fn amboss(&self, arguments: &[&str]) -> Command {
        let mut command = amboss(arguments);
        command.env("XDG_CACHE_HOME", &self.0).env("XDG_DATA_HOME", &self.0).env("HOME", &self.0).current_dir(&self.0);
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What curl printed; `None`, aloud, without a curl.
fn curl(arguments: &[&str]) -> Option<Output> {
    match Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: there is no curl on this machine");
            None
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn fingerprint(banner: &str) -> &str {
    banner.split("(SHA-256): ").nth(1).and_then(|rest| rest.lines().next()).expect("the banner says it")
}

#[test]
fn an_adhoc_certificate_stays_the_same_and_plain_http_is_sent_to_https() {
    let home = Home::new("adhoc");
    let server = Amboss::spawn(&mut home.amboss(&["--adhoc", "-p", "0"]));
    let port = server.port();
    let Some(answer) = curl(&["-k", &format!("https://127.0.0.1:{port}/"), "-H", "Accept: application/json"]) else {
        return;
    };
    assert!(text(&answer).contains("\"wsgi.url_scheme\": \"https\""), "{}", text(&answer));
    let plain = format!("http://127.0.0.1:{port}/a?b");
    let answer = curl(&["-w", "%{http_code} %{redirect_url}", "-o", "/dev/null", &plain]).expect("curl is there");
    assert_eq!(text(&answer), format!("308 https://127.0.0.1:{port}/a?b"));
    let again = Amboss::spawn(&mut home.amboss(&["--adhoc", "-p", "0"]));
    assert_eq!(fingerprint(&again.banner), fingerprint(&server.banner));
}

/// Three clients that keep their connections and ask without a pause, and one whose request is running all the time,
/// until a file says that it is enough.
#[cfg(all(unix, feature = "reload"))]
const KEEPING: &str = r#"
import http.client, os, socket, ssl, sys, threading, time
port, over = int(sys.argv[1]), sys.argv[2]
context = ssl._create_unverified_context()
counts = {"failed": 0}
def client():
    connection = None
    while not os.path.exists(over):
        try:
            connection = connection or http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
            if answer.getheader("Connection") == "close":
                connection = None
        except Exception as error:
            counts["failed"] += 1
            print(repr(error))
            connection = None
running = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=60))
head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
running.sendall(head)
assert b" 100 " in running.recv(100)
clients = [threading.Thread(target=client) for _ in range(3)]
[client.start() for client in clients]
[client.join() for client in clients]
running.sendall(b"0\r\n\r\n")
answer = b"".join(iter(lambda: running.recv(65536), b""))
print(counts, "running:", answer.split(b"\r\n")[0], b"\r\nConnection: close\r\n" in answer)
"#;

#[cfg(all(unix, feature = "reload"))]
fn sockets(pid: &str) -> std::collections::HashSet<std::path::PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).collect()
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn a_reload_under_https_fails_no_request_and_the_running_one_finishes() {
    use crate::reload::{children, tells_children};
    use crate::running::{eventually, is_there, Folder, Running};
    if !is_there("python3") || !tells_children() {
        return;
    }
    let folder = Folder::new("https");
    folder.save("watched", "0");
    let arguments = ["--adhoc", "--reload", "--extra-files", "watched", "-p", "0", "--log-file", "log"];
    let mut server = Running::start(&mut folder.amboss(&arguments));
    let over = folder.0.join("over").to_string_lossy().into_owned();
    let clients = Command::new("python3")
        .args(["-c", KEEPING, &server.port().to_string(), &over])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let answered = || folder.read("log").matches("\" 200 ").count();
    for reload in 1..=3 {
        let before = answered();
        eventually("the clients are at it", || answered() > before + 30);
        let supervisor = server.pid().to_string();
        // Whoever has the socket that the supervisor has listens.
        let listens = |pid: &String| !sockets(pid).is_disjoint(&sockets(&supervisor));
        let old = children(server.pid());
        assert!(old.iter().any(listens));
        folder.save("watched", &reload.to_string());
        eventually("another process listens instead", || {
            !old.iter().any(listens) && children(server.pid()).iter().any(listens)
        });
    }
    let before = answered();
    eventually("the clients go on", || answered() > before + 30);
    folder.save("over", "");
    let said = text(&clients.wait_with_output().expect("it ends"));
    assert!(said.contains("{'failed': 0} running: b'HTTP/1.1 200 OK' True"), "{said}");
    server.signal("TERM");
    assert_eq!(server.ends(), Some(0), "{}", server.said());
}

#[test]
fn one_port_speaks_both_when_asked() {
    let home = Home::new("both");
    let server = Amboss::spawn(&mut home.amboss(&["--adhoc", "--http-and-https", "-p", "0"]));
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://127.0.0.1:{}/", server.port());
        let Some(answer) = curl(&["-k", &url, "-H", "Accept: application/json"]) else { return };
        assert!(text(&answer).contains(&format!("\"wsgi.url_scheme\": \"{scheme}\"")), "{}", text(&answer));
    }
}

#[test]
fn devcert_makes_what_a_client_that_trusts_the_authority_accepts() {
    let home = Home::new("devcert");
    let made = home.amboss(&["devcert"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && said.contains("amboss --cert devcert.crt --key devcert.key"), "{said}");
    assert!(said.contains("update-ca-certificates") && said.contains("Firefox"), "{said}");
    let server =
        Amboss::spawn(&mut home.amboss(&["--cert", "devcert.crt", "--key", "devcert.key", "-b", "localhost:0"]));
    let authority = home.0.join("amboss/amboss-ca.crt");
    let url = format!("https://localhost:{}/", server.port());
    let Some(answer) = curl(&["--cacert", &authority.to_string_lossy(), "-o", "/dev/null", "-w", "%{http_code}", &url])
    else {
        return;
    };
    assert_eq!(text(&answer), "200");
    let answer = curl(&[&url]).expect("curl is there");
    assert!(!answer.status.success(), "without the authority nobody vouches for it");
}

/// What openssl sees of the certificate that is served now, as a PEM.
#[cfg(unix)]
fn served_certificate(port: u16) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).stdin(std::process::Stdio::null());
    let Ok(output) = command.output() else {
        eprintln!("skipped: there is no openssl on this machine");
        return None;
    };
    let said = text(&output);
    let begin = said.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate in {said}"));
    said[begin..].split_inclusive("-----END CERTIFICATE-----").next().map(str::to_owned)
}

#[cfg(unix)]
#[test]
fn hup_reads_the_certificate_again_at_once_and_keeps_it_when_that_fails() {
    use std::io::BufRead;
    let home = Home::new("hup");
    for name in ["one", "two"] {
        assert!(home.amboss(&["devcert", "-o", name]).output().expect("it runs").status.success());
    }
    let copy = |from: &str, to: &str| {
        for kind in ["crt", "key"] {
            std::fs::copy(home.0.join(format!("{from}.{kind}")), home.0.join(format!("{to}.{kind}"))).expect("a copy");
        }
    };
    let leaf = |name: &str| {
        let chain = std::fs::read_to_string(home.0.join(format!("{name}.crt"))).expect("it is there");
        chain.split_inclusive("-----END CERTIFICATE-----").next().expect("a certificate").to_owned()
    };
    copy("one", "used");
    let mut server = Amboss::spawn(&mut home.amboss(&["--cert", "used.crt", "--key", "used.key", "-p", "0"]));
    let port = server.port();
    let mut hang_up = |sentences: &[&str]| {
        server.signal("HUP");
        for sentence in sentences {
            let mut line = String::new();
            server.err.read_line(&mut line).expect("a line");
            assert!(line.contains(sentence), "{sentence} in {line}");
        }
    };
    let Some(before) = served_certificate(port) else { return };
    assert_eq!(before, leaf("one"));
    copy("two", "used");
    hang_up(&["HUP: the certificate was read again; the code stays as it is"]);
    assert_eq!(served_certificate(port).expect("openssl is there"), leaf("two"));
    std::fs::write(home.0.join("used.key"), "nonsense").expect("it can be written");
    hang_up(&["(until then, the certificate of before stays in use)", "HUP: nothing was read again; the code"]);
    assert_eq!(served_certificate(port).expect("openssl is there"), leaf("two"));
}

#[test]
fn certificates_that_can_t_be_used_are_a_sentence_and_code_2() {
    let home = Home::new("badcert");
    let path = |name: &str| home.0.join(name).to_string_lossy().into_owned();
    assert!(home.amboss(&["devcert", "-o", "one"]).output().expect("it runs").status.success());
    assert!(home.amboss(&["devcert", "-o", "two"]).output().expect("it runs").status.success());
    std::fs::write(Path::new(&path("empty")), "").expect("it can be written");
    fails(&["--cert", &path("absent")], 2, "check the path");
    fails(&["--cert", &path("one.crt")], 2, "there is no private key");
    fails(&["--cert", &path("one.crt"), "--key", &path("two.key")], 2, "belong");
    fails(&["--cert", &path("empty")], 2, &path("empty"));
    fails(&["--http-and-https"], 2, "--adhoc");
    fails(&["--key", "a.key"], 2, "--cert");
}
