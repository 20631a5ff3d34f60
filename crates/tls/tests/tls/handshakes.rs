//! Slow, silent, broken and outdated clients, and what the log says of them; a scan for weak settings.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::*;
use crate::tools::*;
use rustls::{ClientConnection, RootCertStore};

fn hello(versions: &[&'static rustls::SupportedProtocolVersion]) -> Vec<u8> {
    let config = std::sync::Arc::new(config(versions));
    let mut connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn silent_and_half_spoken_clients_delay_nobody_and_are_let_go() {
    for setup in [Setup::base(), Setup::threaded()] {
        let server = setup
            .with(|settings| {
                settings.timeouts.idle = Duration::from_secs(1);
                settings.timeouts.handshake = Duration::from_secs(1);
            })
            .start(&context());
        let mut silent: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
        let hello = hello(&BOTH);
        let mut half: Vec<TcpStream> = (1..20)
            .map(|part| {
                let mut stream = server.connect();
                stream.write_all(&hello[..hello.len() * part / 20]).unwrap();
                stream
            })
            .collect();
        assert_eq!(server.client().get("/").text(), "hello");
        for stream in &mut silent {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "silent clients go without a word");
        }
        for stream in &mut half {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
        }
        eventually("each half-spoken client is told of", || {
            server.log.errors().matches("handshake was not completed in time").count() == half.len()
        });
        assert_eq!(server.log.errors().lines().count(), half.len(), "{}", server.log.errors());
    }
}

#[test]
fn handshakes_come_byte_by_byte() {
    for version in BOTH {
        let server = Setup::base().start(&context());
        let mut client = Client::unshaken(server.connect(), config(&[version]));
        let (connection, socket) = (&mut client.stream.conn, &mut client.stream.sock);
        connection.writer().write_all(b"GET /environ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut beside = server.client();
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
            // The server's only thread is free meanwhile.
            assert_eq!(beside.get("/").text(), "hello");
        }
        assert!(client.response().text().contains("SSL_PROTOCOL=TLSv1."));
        assert_eq!(server.log.errors(), "");
    }
}

#[test]
fn many_shake_hands_at_once() {
    let server = Setup::threaded().start(&context());
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let addr = server.addr;
            std::thread::spawn(move || {
                for _ in 0..20 {
                    let mut client = Client::new(connect(addr), config(&[BOTH[number % 2]]));
                    assert_eq!(client.get("/").text(), "hello");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.log.errors(), "");
}

/// Starts a handshake that has to fail for the client, too.
#[track_caller]
fn fails(server: &Running, config: rustls::ClientConfig) -> String {
    let mut client = Client::unshaken(server.connect(), config);
    let error = loop {
        if let Err(error) = client.stream.conn.complete_io(&mut client.stream.sock) {
            break error;
        }
        assert!(client.stream.conn.is_handshaking(), "it succeeded");
    };
    // What the client has to say about it is sent, too.
    while client.stream.conn.wants_write() && client.stream.conn.write_tls(&mut client.stream.sock).is_ok() {}
    error.to_string()
}

#[test]
fn failures_are_told_in_words_and_once() {
    let server = Setup::threaded().start(&context());

    let mut distrustful = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(&BOTH)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    distrustful.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(fails(&server, distrustful).contains("UnknownIssuer"));
    server.log.wait_for("the client does not trust the server's certificate (it says: unknown CA)");

    let mut newer = config(&BOTH);
    newer.alpn_protocols = vec![b"h2".to_vec()];
    // The client hears why.
    assert!(fails(&server, newer).contains("NoApplicationProtocol"));
    server.log.wait_for("the client wants to speak something else than HTTP/1.1");

    for (rubbish, alerted) in [(&b"\x16\x03\x01\x00\x05hello"[..], false), (b"\x16\x03\x01\x00\x05\x01\0\0\x01x", true)]
    {
        let mut stream = server.connect();
        stream.write_all(rubbish).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        // Of what is no handshake message at all, rustls says nothing.
        assert_eq!(answer.first() == Some(&0x15), alerted, "an alert: {}", answer.escape_ascii());
    }
    eventually("two entries", || server.log.errors().matches("what the client sent is not TLS").count() == 2);

    assert_eq!(server.log.errors().lines().count(), 4, "{}", server.log.errors());
    assert!(server.log.errors().lines().all(|line| line.contains("127.0.0.1")), "{}", server.log.errors());
    assert_eq!(server.client().get("/").text(), "hello");
}

#[test]
fn who_goes_away_in_the_middle_is_not_worth_a_line() {
    let server = Setup::threaded().start(&context());
    let hello = hello(&BOTH);
    for part in [1, 5, hello.len() - 1, hello.len()] {
        let mut stream = server.connect();
        stream.write_all(&hello[..part]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    assert_eq!(server.client().get("/").text(), "hello");
    assert_eq!(server.log.errors(), "");
}

/// The ciphers that are spoken, as openssl names them.
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
    let folder = temp_dir("scan");
    let (key, certificate) = (folder.path("rsa.key"), folder.path("rsa.crt"));
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
                eprintln!("skipped: this openssl has no {arguments:?}");
                return;
            }
            assert!(!output.content && !text.contains("200 OK"), "{arguments:?}: {text}");
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
        server.log.wait_for("speaks neither TLS 1.2 nor 1.3; it has to be updated");
        server.log.wait_for("offers only weak or unknown ciphers; it has to be updated");
    }
}

#[test]
fn renegotiation_is_refused() {
    let setup = Setup::threaded().with(|settings| settings.timeouts.idle = Duration::from_secs(2));
    let server = setup.start(&context());
    let addr = server.addr.to_string();
    // A line with R asks openssl to shake hands again.
    let arguments = ["s_client", "-connect", &addr, "-tls1_2"];
    let Some(output) = run("openssl", &arguments, b"R\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") else { return };
    let text = output.text();
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.to_lowercase().contains("no renegotiation"), "{text}");
    assert_eq!(server.client().get("/").text(), "hello");
}
