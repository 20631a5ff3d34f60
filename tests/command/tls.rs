//! The flags of HTTPS, tested with curl.

use std::process::Command;

use amboss_testkit::{try_curl, TempDir};

use crate::{amboss, fails, Amboss};

/// Returns the command, to be run in a directory that is also its home directory.
fn amboss_at_home(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = amboss(arguments);
    for name in ["XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME"] {
        command.env(name, home.path());
    }
    command.current_dir(home.path());
    command
}

fn fingerprint(banner: &str) -> &str {
    banner.split("(SHA-256): ").nth(1).and_then(|rest| rest.lines().next()).expect("the banner shows the fingerprint")
}

#[test]
fn an_adhoc_certificate_is_reused_and_plain_http_is_redirected() {
    let home = TempDir::new("certificates");
    let server = Amboss::spawn(&mut amboss_at_home(&home, &["--adhoc", "-p", "0"]));
    let port = server.port();
    let Some(response) =
        try_curl(&["-k", &format!("https://127.0.0.1:{port}/"), "-H", "Accept: application/json"], b"")
    else {
        return;
    };
    assert!(response.text().contains("\"wsgi.url_scheme\": \"https\""), "{}", response.text());
    let plain = format!("http://127.0.0.1:{port}/a?b");
    let response =
        try_curl(&["-w", "%{http_code} %{redirect_url}", "-o", "/dev/null", &plain], b"").expect("curl is there");
    assert_eq!(response.text(), format!("308 https://127.0.0.1:{port}/a?b"));
    let again = Amboss::spawn(&mut amboss_at_home(&home, &["--adhoc", "-p", "0"]));
    assert_eq!(fingerprint(&again.banner), fingerprint(&server.banner));
}

/// Three clients that send requests on kept connections without a pause, and one whose request runs all the time, until a
/// file appears.
#[cfg(all(unix, feature = "reload"))]
const CLIENTS: &str = r#"
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
            response = connection.getresponse()
            assert response.status == 200 and response.read()
            if response.getheader("Connection") == "close":
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
response = b"".join(iter(lambda: running.recv(65536), b""))
print(counts, "running:", response.split(b"\r\n")[0], b"\r\nConnection: close\r\n" in response)
"#;

#[cfg(all(unix, feature = "reload"))]
/// Returns the sockets that a process has open.
fn sockets(pid: u32) -> std::collections::HashSet<std::path::PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).collect()
}

#[cfg(all(unix, feature = "reload"))]
#[test]
fn a_reload_under_https_fails_no_request_and_the_running_one_finishes() {
    use crate::reload::{can_list_children, children};
    use crate::running::{amboss_in, read, test_dir, Running};
    use amboss_testkit::{is_installed, wait_until, Process};
    if !is_installed("python3") || !can_list_children() {
        return;
    }
    let dir = test_dir();
    dir.write("watched", "0");
    let arguments = ["--adhoc", "--reload", "--extra-files", "watched", "-p", "0", "--log-file", "log"];
    let mut server = Running::start(&mut amboss_in(&dir, &arguments));
    let arguments = ["-c", CLIENTS, &server.port().to_string(), &dir.join_str("over")];
    let mut clients = Process::spawn(Command::new("python3").args(arguments));
    let responses = || read(&dir, "log").matches("\" 200 ").count();
    for reload in 1..=3 {
        let before = responses();
        wait_until("the clients are served", || responses() > before + 30);
        let supervisor = server.pid();
        // A process listens if it has a socket that the supervisor has too.
        let listens = |pid: &u32| !sockets(*pid).is_disjoint(&sockets(supervisor));
        let old = children(server.pid());
        assert!(old.iter().any(listens));
        dir.write("watched", &reload.to_string());
        wait_until("another process listens instead", || {
            !old.iter().any(listens) && children(server.pid()).iter().any(listens)
        });
    }
    let before = responses();
    wait_until("the clients are still served", || responses() > before + 30);
    dir.write("over", "");
    clients.wait_with_output();
    let printed = clients.output();
    assert!(printed.contains("{'failed': 0} running: b'HTTP/1.1 200 OK' True"), "{printed}");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0), "{}", server.output());
}

#[test]
fn http_and_https_serves_both_on_one_port() {
    let home = TempDir::new("certificates");
    let server = Amboss::spawn(&mut amboss_at_home(&home, &["--adhoc", "--http-and-https", "-p", "0"]));
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://127.0.0.1:{}/", server.port());
        let Some(response) = try_curl(&["-k", &url, "-H", "Accept: application/json"], b"") else { return };
        assert!(response.text().contains(&format!("\"wsgi.url_scheme\": \"{scheme}\"")), "{}", response.text());
    }
}

#[test]
fn a_client_that_trusts_the_local_authority_accepts_the_devcert() {
    let home = TempDir::new("certificates");
    let made = amboss_at_home(&home, &["devcert"]).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && printed.contains("amboss --cert devcert.crt --key devcert.key"), "{printed}");
    assert!(printed.contains("update-ca-certificates") && printed.contains("Firefox"), "{printed}");
    let server = Amboss::spawn(&mut amboss_at_home(
        &home,
        &["--cert", "devcert.crt", "--key", "devcert.key", "-b", "localhost:0"],
    ));
    let authority = home.join_str("amboss/amboss-ca.crt");
    let url = format!("https://localhost:{}/", server.port());
    let Some(response) = try_curl(&["--cacert", &authority, "-o", "/dev/null", "-w", "%{http_code}", &url], b"") else {
        return;
    };
    assert_eq!(response.text(), "200");
    let response = try_curl(&[&url], b"").expect("curl is there");
    assert!(!response.success, "a client that does not trust the authority refuses the certificate");
}

/// Returns the certificate that the server sends now, as PEM.
#[cfg(unix)]
fn served_certificate(port: u16) -> Option<String> {
    served_certificate_for(port, "localhost")
}

/// Returns the certificate that the server sends to a client that asks for this name, as PEM.
fn served_certificate_for(port: u16, name: &str) -> Option<String> {
    let address = format!("127.0.0.1:{port}");
    let arguments = ["s_client", "-connect", &address, "-servername", name];
    let printed = amboss_testkit::run("openssl", &arguments, b"")?.text();
    let begin = printed.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate in {printed}"));
    printed[begin..].split_inclusive("-----END CERTIFICATE-----").next().map(str::to_owned)
}

#[test]
fn with_several_certificates_a_client_gets_the_one_with_the_name_that_it_asks_for() {
    let home = TempDir::new("certificates");
    for (file, host) in [("a", "a.test"), ("b", "*.b.test")] {
        let made = amboss_at_home(&home, &["devcert", "-o", file, host]).output().expect("the command runs");
        assert!(made.status.success());
    }
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("the file exists");
    let leaf = |name: &str| read(name).split_inclusive("-----END CERTIFICATE-----").next().map(str::to_owned);
    std::fs::write(home.join("a.pem"), read("a.crt") + &read("a.key")).expect("the file can be written");
    std::fs::write(home.join("b.pem"), read("b.crt") + &read("b.key")).expect("the file can be written");
    for arguments in [
        &["--cert", "a.crt", "--key", "a.key", "--cert", "b.crt", "--key", "b.key"][..],
        &["--cert", "a.pem", "--cert", "b.crt", "--key", "a.pem", "--key", "b.key"],
        &["--cert", "a.pem", "--cert", "b.pem"],
    ] {
        let server = Amboss::spawn(&mut amboss_at_home(&home, &[arguments, &["-p", "0"]].concat()));
        let port = server.port();
        for (name, file) in [("a.test", "a.crt"), ("WWW.b.test", "b.crt"), ("c.test", "a.crt")] {
            let Some(served) = served_certificate_for(port, name) else { return };
            assert_eq!(Some(served), leaf(file), "{arguments:?}: {name}");
        }
        let (resolve, url) = (format!("www.b.test:{port}:127.0.0.1"), format!("https://www.b.test:{port}/"));
        let authority = home.join_str("amboss/amboss-ca.crt");
        let arguments = ["--cacert", &authority, "--resolve", &resolve, "-o", "/dev/null", "-w", "%{http_code}", &url];
        let Some(response) = try_curl(&arguments, b"") else { return };
        assert_eq!(response.text(), "200");
    }
}

#[cfg(unix)]
#[test]
fn hup_reloads_the_certificate_and_keeps_the_old_one_if_that_fails() {
    use std::io::BufRead;
    let home = TempDir::new("certificates");
    for name in ["one", "two"] {
        assert!(amboss_at_home(&home, &["devcert", "-o", name]).output().expect("the command runs").status.success());
    }
    let copy = |from: &str, to: &str| {
        for kind in ["crt", "key"] {
            std::fs::copy(home.join(&format!("{from}.{kind}")), home.join(&format!("{to}.{kind}"))).expect("a copy");
        }
    };
    let leaf = |name: &str| {
        let chain = std::fs::read_to_string(home.join(&format!("{name}.crt"))).expect("the file exists");
        chain.split_inclusive("-----END CERTIFICATE-----").next().expect("a certificate").to_owned()
    };
    copy("one", "used");
    let mut server = Amboss::spawn(&mut amboss_at_home(&home, &["--cert", "used.crt", "--key", "used.key", "-p", "0"]));
    let port = server.port();
    let mut hang_up = |messages: &[&str]| {
        server.signal("HUP");
        for message in messages {
            let mut line = String::new();
            server.err.read_line(&mut line).expect("a line");
            assert!(line.contains(message), "{message} in {line}");
        }
    };
    let Some(before) = served_certificate(port) else { return };
    assert_eq!(before, leaf("one"));
    copy("two", "used");
    hang_up(&["HUP: the certificate was reloaded; the code stays as it is"]);
    assert_eq!(served_certificate(port).expect("openssl is there"), leaf("two"));
    std::fs::write(home.join("used.key"), "nonsense").expect("the file can be written");
    hang_up(&["(until then, the previous certificate stays in use)", "HUP: a certificate was not reloaded; the code"]);
    assert_eq!(served_certificate(port).expect("openssl is there"), leaf("two"));
}

#[test]
fn a_certificate_that_can_t_be_used_is_refused_with_code_2() {
    let home = TempDir::new("certificates");
    let path = |name: &str| home.join_str(name);
    assert!(amboss_at_home(&home, &["devcert", "-o", "one"]).output().expect("the command runs").status.success());
    assert!(amboss_at_home(&home, &["devcert", "-o", "two"]).output().expect("the command runs").status.success());
    std::fs::write(path("empty"), "").expect("the file can be written");
    fails(&["--cert", &path("absent")], 2, "check the path");
    fails(&["--cert", &path("one.crt")], 2, "there is no private key");
    fails(&["--cert", &path("one.crt"), "--key", &path("two.key")], 2, "belong");
    fails(&["--cert", &path("empty")], 2, &path("empty"));
    fails(&["--http-and-https"], 2, "--adhoc");
    fails(&["--key", "a.key"], 2, "--cert");
    let (one, two) = (path("one.crt"), path("two.crt"));
    fails(&["--cert", &one, "--cert", &two], 2, "there is no private key in ");
    let both = ["--cert", &one, "--key", &path("one.key"), "--cert", &two];
    fails(&both, 2, "the number of --cert is 2, and the number of --key is 1");
    fails(&[&both[..], &["--key", &one]].concat(), 2, "there is no private key in ");
    fails(&[&both[..2], &["--key", "a", "--key", "b"]].concat(), 2, "--key once for each --cert, in the same order");
    fails(&[&both[..], &["--key", &path("two.key"), "--adhoc"]].concat(), 2, "cannot be used with");
    let nameless =
        amboss_at_home(&home, &["devcert", "-o", "address", "127.0.0.1"]).output().expect("the command runs");
    assert!(nameless.status.success());
    let address = ["--cert", &path("address.crt"), "--key", &path("address.key")];
    fails(&[&both[..4], &address].concat(), 2, "address.crt has no DNS name");
}

/// Runs openssl's client against a port; returns what it prints about the connection and the response.
fn s_client(port: u16, flags: &[&str]) -> Option<String> {
    let address = format!("127.0.0.1:{port}");
    let arguments = [&["s_client", "-connect", &address, "-ign_eof"], flags].concat();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n\r\n";
    amboss_testkit::run("openssl", &arguments, request).map(|output| output.text() + &output.stderr)
}

#[test]
fn the_oldest_version_and_the_ciphers_are_those_of_the_flags() {
    let home = TempDir::new("certificates");
    let start = |flags: &[&str]| Amboss::spawn(&mut amboss_at_home(&home, &[&["--adhoc", "-p", "0"], flags].concat()));
    let ok = "HTTP/1.1 200 OK";
    for (flags, client, works) in [
        (&[][..], &["-tls1_2"][..], true),
        (&["--tls-min", "1.3"], &["-tls1_2"], false),
        (&["--tls-min", "1.3"], &["-tls1_3"], true),
        (
            &["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            false,
        ),
        (
            &["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            true,
        ),
        (&["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], &["-tls1_3"], true),
        (&["--ciphers", "TLS_AES_256_GCM_SHA384"], &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], false),
        (&["--ciphers", "TLS_AES_256_GCM_SHA384"], &["-tls1_2"], true),
    ] {
        let server = start(flags);
        let Some(printed) = s_client(server.port(), client) else { return };
        assert_eq!(printed.contains(ok), works, "{flags:?} {client:?}: {printed}");
    }
    fails(
        &["--adhoc", "--ciphers", "RC4-SHA"],
        2,
        "there is no cipher suite \"RC4-SHA\"; those of rustls are TLS_AES_256_GCM",
    );
    fails(&["--tls-min", "1.3"], 2, "--tls-min needs --adhoc or --cert <FILE>");
}

#[test]
fn clients_are_asked_for_certificates_of_the_authority() {
    let home = TempDir::new("certificates");
    let path = |name: &str| home.join_str(name);
    home.write("extensions", "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n");
    let key = ["-newkey", "rsa:2048", "-nodes", "-subj"];
    for arguments in [
        [&["req", "-x509"], &key[..], &["/CN=authority", "-keyout", &path("ca.key"), "-out", &path("ca.crt")]].concat(),
        [&["req", "-x509"], &key[..], &["/CN=nobody", "-keyout", &path("other.key"), "-out", &path("other.crt")]]
            .concat(),
        [&["req", "-new"], &key[..], &["/CN=client", "-keyout", &path("client.key"), "-out", &path("csr")]].concat(),
        vec!["x509", "-req", "-in", &path("csr"), "-CA", &path("ca.crt"), "-CAkey", &path("ca.key"), "-CAcreateserial"]
            .into_iter()
            .chain(["-extfile", &path("extensions"), "-out", &path("client.crt")])
            .collect(),
    ] {
        if amboss_testkit::run("openssl", &arguments, b"").is_none() {
            return;
        }
    }
    let flags = ["-p", "0", "--adhoc", "--client-ca", "ca.crt"];
    for (verify, without) in [("required", false), ("optional", true)] {
        let server = Amboss::spawn(&mut amboss_at_home(&home, &[&flags[..], &["--client-verify", verify]].concat()));
        let answer = |client: &[&str]| s_client(server.port(), client).unwrap_or_default();
        let ok = "HTTP/1.1 200 OK";
        let known = answer(&["-cert", &path("client.crt"), "-key", &path("client.key")]);
        assert!(known.contains(ok) && known.contains("SSL_CLIENT_CERT"), "{verify}: {known}");
        assert_eq!(answer(&[]).contains(ok), without, "{verify}");
        assert!(!answer(&["-cert", &path("other.crt"), "-key", &path("other.key")]).contains(ok), "{verify}");
    }
    let both = ["--adhoc", "--client-ca", "ca.pem", "--http-and-https"];
    fails(&both, 2, "--http-and-https would serve clients without the certificate that --client-ca asks for");
    fails(&["--adhoc", "--client-verify", "optional"], 2, "--client-verify needs --client-ca <FILE>");
    fails(&["--adhoc", "--client-ca", "/not/there"], 2, "/not/there");
}
