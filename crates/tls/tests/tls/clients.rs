//! Real clients: curl, openssl, Python and Chromium.

use crate::programs::*;
use crate::support::*;
use amboss_tls::{make_ssl_devcert, SslContext};

/// Starts a server for localhost. Returns the certificate to trust, too.
fn start_trusted(setup: Setup) -> (TestServer, String, TempDir) {
    let folder = TempDir::new("clients");
    let (certificate, key) = make_ssl_devcert(folder.join("dev"), Some("localhost"), None).unwrap();
    let server = setup.start(&SslContext::from_files(&certificate, Some(&key)).unwrap());
    (server, certificate.to_str().unwrap().to_owned(), folder)
}

#[test]
fn curl_works_with_both_tls_versions() {
    for setup in [Setup::single_threaded(), Setup::threaded()] {
        let (server, certificate, _folder) = start_trusted(setup);
        for (arguments, protocol) in
            [(["--tlsv1.3", "--tls-max", "1.3"], "TLSv1.3"), (["--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2")]
        {
            let arguments = [&arguments[..], &["--cacert", &certificate]].concat();
            // Two requests on one connection.
            let urls = [server.url("/environ"), server.url("/")];
            let Some(text) = curl(&[&arguments[..], &["-v", "-4", &urls[0], &urls[1]]].concat(), b"") else { return };
            assert!(text.contains(&format!("SSL_PROTOCOL={protocol}\n")), "{text}");
            assert!(text.contains("wsgi.url_scheme=https\n") && text.contains("hello"), "{text}");
            // Versions of curl differ in the wording.
            let accepted = ["server accepted http/1.1", "server accepted to use http/1.1"];
            assert!(accepted.iter().any(|words| text.contains(words)), "{text}");
            assert!(text.to_lowercase().contains("re-using") || text.to_lowercase().contains("reusing"), "{text}");

            let content = pattern(3_000_000);
            let (url, upload) = (server.url("/echo"), ["-4", "-T", "-", "-H", "Expect: 100-continue"]);
            let output = try_curl(&[&arguments[..], &upload, &[&url]].concat(), &content).unwrap();
            assert!(output.stdout == content, "{} bytes, {}", output.stdout.len(), output.stderr);
            for path in ["/large/3000000", "/blocks/3000000", "/file/3000000"] {
                let output = try_curl(&[&arguments[..], &["-4", &server.url(path)]].concat(), b"").unwrap();
                assert!(output.stdout == content, "{path}: {} bytes, {}", output.stdout.len(), output.stderr);
            }
        }
        assert_eq!(server.log.errors(), "");
    }
}

#[test]
fn openssl_sees_a_clean_close() {
    let (server, certificate, _folder) = start_trusted(Setup::threaded());
    for (version, protocol, cipher) in [
        ("-tls1_2", "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("-tls1_3", "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        let chosen = if version == "-tls1_2" { "-cipher" } else { "-ciphersuites" };
        let arguments = [version, chosen, cipher, "-CAfile", &certificate, "-verify_return_error", "-alpn", "http/1.1"];
        let Some(output) = s_client(&server, &arguments) else { return };
        let text = output.text();
        assert!(output.success && text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains(&format!("SSL_PROTOCOL={protocol}\n")), "{text}");
        // The environ has the name of the cipher that was passed to openssl.
        assert!(text.contains(&format!("SSL_CIPHER={cipher}\n")), "{text}");
        assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
        assert!(!text.to_lowercase().contains("unexpected eof"), "{text}");
    }
    assert_eq!(server.log.errors(), "");
}

/// Connects twice in each of the three ways to resume a session, and prints which connections were resumed.
const RESUMING: &str = r#"
import socket, ssl, sys
port, cafile = int(sys.argv[1]), sys.argv[2]

def ask(context, session):
    with socket.create_connection(("127.0.0.1", port)) as raw:
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
            tls.sendall(b"GET /environ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            response = b""
            while piece := tls.recv(65536):
                response += piece
            assert b"200 OK" in response and b"SSL_PROTOCOL=" + tls.version().encode() in response, response
            return tls.session, tls.session_reused

for version, tickets in (("TLSv1_3", True), ("TLSv1_2", True), ("TLSv1_2", False)):
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    session, first = ask(context, None)
    _, second = ask(context, session)
    print(version, tickets, first, second)
"#;

#[test]
fn python_resumes_sessions_by_ticket_and_by_session_id() {
    for setup in [Setup::single_threaded(), Setup::threaded()] {
        let (server, certificate, _folder) = start_trusted(setup);
        let Some(text) = python(RESUMING, &[&server.addr.port().to_string(), &certificate]) else { return };
        let expected = "TLSv1_3 True False True\nTLSv1_2 True False True\nTLSv1_2 False False True\n";
        assert_eq!(text, expected);
    }
}

#[test]
fn chromium_loads_a_page() {
    let (server, certificate, folder) = start_trusted(Setup::threaded());
    // The browser accepts this key only.
    let script = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der \
                  | openssl dgst -sha256 -binary | base64";
    if openssl(&["version"]).is_none() {
        return;
    }
    let Some(pin) = run("sh", &["-c", script, &certificate], b"") else { return };
    let pin = String::from_utf8(pin.stdout).unwrap();
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        &format!("--user-data-dir={}", folder.join_str("profile")),
        &format!("--ignore-certificate-errors-spki-list={}", pin.trim()),
        "--dump-dom",
        &server.url("/environ"),
    ];
    let Some(program) = find_chromium() else { return };
    // The first start of Chromium on a machine is slow.
    let Some(output) = run_with_timeout(DEADLINE * 10, program, &arguments, b"") else { return };
    let text = output.text();
    assert!(text.contains("SSL_PROTOCOL=TLSv1.3") && text.contains("HTTP_USER_AGENT=Mozilla/5.0"), "{text}");
}

#[test]
fn the_example_serves_https() {
    // `cargo test` builds the examples into a folder next to that of the tests.
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let cache = TempDir::new("example");
    let mut command = std::process::Command::new(folder.join("https_hello"));
    command.arg("127.0.0.1:0").env("XDG_CACHE_HOME", cache.path()).env("HOME", cache.path());
    let mut example = Process::spawn(&mut command);
    let url = example.wait_for_output("prints its URL", |output| {
        output.lines().find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()))
    });
    let certificate =
        wait_for("the example has printed its fingerprint", || example.stdout().lines().nth(1).map(str::to_owned));
    if let Some(output) = try_curl(&["-k", &url], b"") {
        assert_eq!(output.text(), "Hello over TLSv1.3 with TLS_AES_256_GCM_SHA384!\n");
    }
    assert_eq!(certificate.matches(':').count(), 31);
}
