//! Client certificates, created by openssl: optional and required ones, and what applications see of them.

use crate::programs::*;
use crate::support::*;
use amboss_tls::{ClientCertificates, SslContext, SslErrorKind};

/// Creates an authority, a client certificate from it, and one from another authority. `None` without openssl.
fn clients() -> Option<TempDir> {
    let folder = TempDir::new("client-certificates");
    let path = |name: &str| folder.join_str(name);
    for ca in ["ca", "other"] {
        let subject = format!("/CN={ca}");
        let (key, certificate) = (path(&format!("{ca}.key")), path(&format!("{ca}.crt")));
        let arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key];
        openssl(&[&arguments[..], &["-out", &certificate]].concat())?;
    }
    for (client, ca) in [("client", "ca"), ("stranger", "other")] {
        let (request, subject) = (path("request"), format!("/CN={client}"));
        let (key, certificate) = (path(&format!("{client}.key")), path(&format!("{client}.crt")));
        let (ca_key, ca) = (path(&format!("{ca}.key")), path(&format!("{ca}.crt")));
        let arguments = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"];
        openssl(&[&arguments[..], &[&subject, "-keyout", &key, "-out", &request]].concat())?;
        std::fs::write(path("extensions"), "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n").unwrap();
        let arguments = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        openssl(&[&arguments[..], &["-extfile", &path("extensions"), "-out", &certificate]].concat())?;
    }
    Some(folder)
}

const VERSIONS: [[&str; 2]; 2] = [["--tls-max", "1.2"], ["--tlsv1.3", "--http1.1"]];

#[test]
fn required_client_certificates_are_enforced() {
    let Some(folder) = clients() else { return };
    let wanted = ClientCertificates::Required(folder.join("ca.crt"));
    let server = Setup::threaded().start(&context().client_certificates(wanted).unwrap());
    let (certificate, key) = (folder.join_str("client.crt"), folder.join_str("client.key"));
    for version in VERSIONS {
        let url = server.url("/environ");
        let arguments = [&version[..], &["-4", "-k", &url]].concat();
        let shown = ["--cert", &certificate, "--key", &key];
        let Some(text) = curl(&[&arguments[..], &shown].concat(), b"") else { return };
        let pem = std::fs::read_to_string(folder.join("client.crt")).unwrap();
        assert!(text.contains(&format!("SSL_CLIENT_CERT={}\n", pem.escape_default())), "{text}");

        assert!(!try_curl(&arguments, b"").unwrap().success, "without a certificate");
        let (certificate, key) = (folder.join_str("stranger.crt"), folder.join_str("stranger.key"));
        let shown = ["--cert", &certificate, "--key", &key];
        assert!(
            !try_curl(&[&arguments[..], &shown].concat(), b"").unwrap().success,
            "with a certificate from another authority"
        );
    }
    server.log.wait_for("the client sent no certificate, but one is required");
    server.log.wait_for("the client's certificate was rejected: ");
}

#[test]
fn optional_client_certificates_may_be_absent_but_must_be_valid() {
    let Some(folder) = clients() else { return };
    let wanted = ClientCertificates::Optional(folder.join("ca.crt"));
    let server = Setup::threaded().start(&context().client_certificates(wanted).unwrap());
    for version in VERSIONS {
        let url = server.url("/environ");
        let arguments = [&version[..], &["-4", "-k", &url]].concat();
        let Some(text) = curl(&arguments, b"") else { return };
        assert!(text.contains("SSL_PROTOCOL=") && !text.contains("SSL_CLIENT_CERT"), "{text}");
        for (name, accepted) in [("client", true), ("stranger", false)] {
            let (certificate, key) = (folder.join_str(&format!("{name}.crt")), folder.join_str(&format!("{name}.key")));
            let shown = ["--cert", &certificate, "--key", &key];
            let output = try_curl(&[&arguments[..], &shown].concat(), b"").unwrap();
            assert_eq!(output.success, accepted, "{name}: {}", output.text());
            assert_eq!(output.text().contains("SSL_CLIENT_CERT=-----BEGIN CERTIFICATE-----"), accepted);
        }
    }
}

/// Connects twice with a client certificate. The second connection resumes the session, which has the certificate.
const RESUMING: &str = r#"
import socket, ssl, sys
port, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
for version in "TLSv1_2", "TLSv1_3":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.load_cert_chain(certificate, key)
    session = None
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            with context.wrap_socket(raw, session=session) as tls:
                tls.sendall(b"GET /environ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                response = b""
                while piece := tls.recv(65536):
                    response += piece
                session = tls.session
                print(version, tls.session_reused, b"SSL_CLIENT_CERT=-----BEGIN" in response)
"#;

#[test]
fn resumed_sessions_keep_the_client_certificate() {
    let Some(folder) = clients() else { return };
    let wanted = ClientCertificates::Required(folder.join("ca.crt"));
    let server = Setup::threaded().start(&context().client_certificates(wanted).unwrap());
    let port = server.addr.port().to_string();
    let Some(text) = python(RESUMING, &[&port, &folder.join_str("client.crt"), &folder.join_str("client.key")]) else {
        return;
    };
    assert_eq!(text, "TLSv1_2 False True\nTLSv1_2 True True\nTLSv1_3 False True\nTLSv1_3 True True\n");
}

#[test]
fn unusable_authority_files_are_refused() {
    let folder = TempDir::new("authorities");
    let missing = ClientCertificates::Required(folder.join("missing.crt"));
    assert_eq!(context().client_certificates(missing).unwrap_err().kind(), SslErrorKind::Unreadable);
    std::fs::write(folder.join("empty.crt"), "\n").unwrap();
    let empty = ClientCertificates::Optional(folder.join("empty.crt"));
    assert_eq!(context().client_certificates(empty).unwrap_err().kind(), SslErrorKind::Empty);

    let provider = rustls::crypto::ring::default_provider().into();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&BOTH)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(std::sync::Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
    let error = SslContext::from_config(config.into()).client_certificates(ClientCertificates::Off).unwrap_err();
    assert_eq!(error.kind(), SslErrorKind::Configuration);
}
