//! Slow, silent, broken and outdated clients, and what is logged about them; a scan for weak settings.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::programs::*;
use crate::support::*;
use rustls::{ClientConnection, RootCertStore};

fn hello(versions: &[&'static rustls::SupportedProtocolVersion]) -> Vec<u8> {
    let config = std::sync::Arc::new(config(versions));
    let mut connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn silent_and_slow_clients_do_not_delay_others_and_time_out() {
    for setup in [Setup::single_threaded(), Setup::threaded()] {
        let server = setup
            .with(|settings| {
                settings.timeouts.idle = Duration::from_secs(1);
                settings.timeouts.handshake = Duration::from_secs(1);
            })
            .start(&context());
        let mut silent: Vec<TcpStream> = (0..50).map(|_| server.connect().stream).collect();
        let hello = hello(&BOTH);
        let mut incomplete: Vec<TcpStream> = (1..20)
            .map(|part| {
                let mut stream = server.connect().stream;
                stream.write_all(&hello[..hello.len() * part / 20]).unwrap();
                stream
            })
            .collect();
        assert_eq!(server.client().get("/").text(), "hello");
        for stream in &mut silent {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "silent clients are disconnected without an alert");
        }
        for stream in &mut incomplete {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
        }
        wait_until("each incomplete handshake is logged", || {
            server.log.errors().matches("handshake was not completed in time").count() == incomplete.len()
        });
        assert_eq!(server.log.errors().lines().count(), incomplete.len(), "{}", server.log.errors());
    }
}

#[test]
fn handshakes_work_byte_by_byte() {
    for version in BOTH {
        let server = Setup::single_threaded().start(&context());
        let mut client = without_handshake(server.addr, config(&[version]));
        let (connection, socket) = (&mut client.stream.conn, &mut client.stream.sock);
        connection.writer().write_all(b"GET /environ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut other = server.client();
        while connection.is_handshaking() || connection.wants_write() {
            let mut bytes = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut bytes).unwrap();
            }
            for byte in bytes {
                socket.write_all(&[byte]).unwrap();
            }
            if connection.is_handshaking() {
                connection.read_tls(socket).unwrap();
                connection.process_new_packets().unwrap();
            }
            // The server's only thread serves other clients meanwhile.
            assert_eq!(other.get("/").text(), "hello");
        }
        assert!(client.response().text().contains("SSL_PROTOCOL=TLSv1."));
        assert_eq!(server.log.errors(), "");
    }
}

#[test]
fn concurrent_handshakes_succeed() {
    let server = Setup::threaded().start(&context());
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let addr = server.addr;
            std::thread::spawn(move || {
                for _ in 0..20 {
                    let mut client = connect_tls(addr, config(&[BOTH[number % 2]]));
                    assert_eq!(client.get("/").text(), "hello");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.log.errors(), "");
}

/// Starts a handshake that has to fail. Returns the client's error.
#[track_caller]
fn failed_handshake(server: &TestServer, config: rustls::ClientConfig) -> String {
    let mut client = without_handshake(server.addr, config);
    let error = loop {
        if let Err(error) = client.stream.conn.complete_io(&mut client.stream.sock) {
            break error;
        }
        assert!(client.stream.conn.is_handshaking(), "the handshake succeeded");
    };
    // Sends the client's alert, too.
    while client.stream.conn.wants_write() && client.stream.conn.write_tls(&mut client.stream.sock).is_ok() {}
    error.to_string()
}

#[test]
fn failed_handshakes_are_logged_once_with_a_reason() {
    let server = Setup::threaded().start(&context());

    let mut distrustful = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(&BOTH)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    distrustful.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(failed_handshake(&server, distrustful).contains("UnknownIssuer"));
    server.log.wait_for("the client does not trust the server's certificate (alert: unknown CA)");

    let mut newer = config(&BOTH);
    newer.alpn_protocols = vec![b"h2".to_vec()];
    // The client receives an alert with the reason.
    assert!(failed_handshake(&server, newer).contains("NoApplicationProtocol"));
    server.log.wait_for("the client does not offer HTTP/1.1");

    for (rubbish, alerted) in [(&b"\x16\x03\x01\x00\x05hello"[..], false), (b"\x16\x03\x01\x00\x05\x01\0\0\x01x", true)]
    {
        let mut stream = server.connect().stream;
        stream.write_all(rubbish).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        // rustls sends no alert for input that is not a handshake message at all.
        assert_eq!(response.first() == Some(&0x15), alerted, "an alert: {}", response.escape_ascii());
    }
    wait_until("two messages are logged", || {
        server.log.errors().matches("the client sent an invalid TLS message").count() == 2
    });

    assert_eq!(server.log.errors().lines().count(), 4, "{}", server.log.errors());
    assert!(server.log.errors().lines().all(|line| line.contains("127.0.0.1")), "{}", server.log.errors());
    assert_eq!(server.client().get("/").text(), "hello");
}

#[test]
fn a_client_that_disconnects_during_the_handshake_is_not_logged() {
    let server = Setup::threaded().start(&context());
    let hello = hello(&BOTH);
    for part in [1, 5, hello.len() - 1, hello.len()] {
        let mut stream = server.connect().stream;
        stream.write_all(&hello[..part]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
    }
    assert_eq!(server.client().get("/").text(), "hello");
    assert_eq!(server.log.errors(), "");
}

/// The ciphers of the server, as openssl names them.
const STRONG: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

#[test]
fn a_scan_finds_no_weak_settings() {
    let folder = TempDir::new("scan");
    let (key, certificate) = (folder.join_str("rsa.key"), folder.join_str("rsa.crt"));
    let arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", &key];
    if openssl(&[&arguments[..], &["-out", &certificate]].concat()).is_none() {
        return;
    }
    let rsa = amboss_tls::SslContext::from_files(&certificate, Some(key.as_ref())).unwrap();
    for (context, strong) in [(context(), &STRONG[..3]), (rsa, &STRONG[3..])] {
        let server = Setup::threaded().start(&context);
        let refused = |arguments: &[&str]| {
            let output = s_client(&server, arguments).unwrap();
            let text = output.text();
            if text.contains("Unknown option") || text.contains("unknown option") {
                skip(&format!("this openssl has no {arguments:?}"));
                return;
            }
            assert!(!output.success && !text.contains("200 OK"), "{arguments:?}: {text}");
        };
        let all = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
        for version in ["-ssl3", "-tls1", "-tls1_1"] {
            refused(&[version, "-cipher", all]);
        }
        let weak = STRONG.iter().fold("ALL:COMPLEMENTOFALL".to_owned(), |list, name| format!("{list}:!{name}"));
        refused(&["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]);
        for cipher in strong {
            let text = s_client(&server, &["-tls1_2", "-cipher", cipher]).unwrap().text();
            assert!(text.contains("200 OK") && text.contains(&format!("SSL_CIPHER={cipher}\n")), "{text}");
        }
        for suite in ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"] {
            refused(&["-tls1_3", "-ciphersuites", suite]);
        }
        refused(&["-tls1_2", "-groups", "P-521"]);
        let text = s_client(&server, &["-tls1_2", "-comp"]).unwrap().text();
        assert!(text.contains("Compression: NONE") && text.contains("Secure Renegotiation IS supported"), "{text}");
        assert!(text.contains("Extended master secret: yes"), "{text}");
        let text = s_client(&server, &["-tls1_3"]).unwrap().text();
        assert!(!text.contains("Max Early Data:") || text.contains("Max Early Data: 0"), "{text}");
        server.log.wait_for("supports neither TLS 1.2 nor TLS 1.3; update the client");
        server.log.wait_for("offers only weak or unknown ciphers; update the client");
    }
}

#[test]
fn renegotiation_is_refused() {
    let setup = Setup::threaded().with(|settings| settings.timeouts.idle = Duration::from_secs(2));
    let server = setup.start(&context());
    let addr = server.addr.to_string();
    // A line with R makes openssl start a renegotiation.
    let arguments = ["s_client", "-connect", &addr, "-tls1_2"];
    let Some(output) = run("openssl", &arguments, b"R\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") else { return };
    let text = output.text();
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.to_lowercase().contains("no renegotiation"), "{text}");
    assert_eq!(server.client().get("/").text(), "hello");
}
