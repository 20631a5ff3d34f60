//! Several certificates in one server, picked by the name that a client asks for (SNI).

use std::path::PathBuf;

use crate::programs::*;
use crate::support::*;
use amboss_tls::{make_ssl_devcert, ClientCertificates, LocalCa, SslContext, SslErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::CertificateDer;

/// An authority, and the files of the certificates that it issues.
struct Certificates {
    folder: TempDir,
    authority: LocalCa,
}

impl Certificates {
    fn new() -> Certificates {
        let folder = TempDir::new("names");
        let authority = LocalCa::open_in(folder.join("ca")).unwrap();
        Certificates { folder, authority }
    }

    /// Issues a certificate for these hosts. Returns the paths of the certificate and its key.
    fn issue(&self, file: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
        self.authority.issue(hosts, self.folder.join(file)).unwrap()
    }

    /// The server's own certificate in a file.
    fn leaf(&self, file: &str) -> Vec<u8> {
        CertificateDer::from_pem_file(self.folder.join(&format!("{file}.crt"))).unwrap().to_vec()
    }

    fn context(&self, file: &str, hosts: &[&str]) -> SslContext {
        let (certificate, key) = self.issue(file, hosts);
        SslContext::from_files(certificate, Some(&key)).unwrap()
    }

    fn add(&self, context: SslContext, file: &str, hosts: &[&str]) -> SslContext {
        let (certificate, key) = self.issue(file, hosts);
        context.with_certificate(certificate, Some(&key)).unwrap()
    }
}

/// The certificate that a new client receives which asks for this name, or for none.
fn served(server: &TestServer, name: Option<&'static str>) -> Vec<u8> {
    let mut config = config(&BOTH);
    config.enable_sni = name.is_some();
    let client = connect_tls_to(name.unwrap_or("localhost"), server.addr, config);
    client.stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for_or_the_default_one() {
    let certificates = Certificates::new();
    let default = certificates.context("a", &["a.test", "*.b.test"]);
    let context = certificates.add(default.clone(), "b", &["B.test", "www.b.test", "10.0.0.1"]);
    let context = certificates.add(context, "c", &["*.c.test", "a.test"]);
    assert_eq!(context.fingerprint(), default.fingerprint());
    let server = Setup::threaded().start(&context);
    for (name, file) in [
        (Some("a.test"), "a"),
        (Some("b.test"), "b"),
        (Some("www.b.test"), "b"),
        (Some("other.b.test"), "a"),
        (Some("shop.c.test"), "c"),
        (Some("Shop.C.Test"), "c"),
        (Some("c.test"), "a"),
        (Some("x.shop.c.test"), "a"),
        (Some("unknown.test"), "a"),
        // A client sends no address (RFC 6066 §3).
        (Some("10.0.0.1"), "a"),
        (None, "a"),
    ] {
        assert!(served(&server, name) == certificates.leaf(file), "{name:?} gets {file}");
    }
    assert_eq!(server.log.errors(), "");

    // Names as clients send them that do not write them in lowercase, or write the root of the DNS.
    let authority = certificates.authority.certificate().to_str().unwrap();
    for (name, file) in [("WWW.B.TEST", "b"), ("www.b.test.", "b"), ("sHoP.c.test", "c")] {
        let addr = server.addr.to_string();
        let arguments = ["s_client", "-connect", &addr, "-servername", name, "-CAfile", authority];
        let Some(printed) = run("openssl", &arguments, b"") else { return };
        let printed = printed.text();
        let expected = std::fs::read_to_string(certificates.folder.join(&format!("{file}.crt"))).unwrap();
        let leaf = expected.split_inclusive("-----END CERTIFICATE-----").next().unwrap();
        assert!(printed.contains(leaf) && printed.contains("Verify return code: 0"), "{name}: {printed}");
    }
    let port = server.addr.port();
    for name in ["a.test", "www.b.test", "shop.c.test"] {
        let (resolve, url) = (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/"));
        let Some(text) = curl(&["--cacert", authority, "--resolve", &resolve, &url], b"") else { return };
        assert_eq!(text, "hello");
    }
}

#[test]
fn each_certificate_is_loaded_again_with_its_names_when_its_files_change() {
    let certificates = Certificates::new();
    let context = certificates.context("a", &["a.test"]);
    let context = certificates.add(context, "b", &["b.test"]);
    let server = Setup::threaded().start(&context);
    let (a, b) = (certificates.leaf("a"), certificates.leaf("b"));
    assert!(served(&server, Some("b.test")) == b && served(&server, Some("c.test")) == a);

    certificates.issue("b", &["c.test"]);
    let c = certificates.leaf("b");
    wait_until("the new certificate is served under its new name", || served(&server, Some("c.test")) == c);
    assert!(served(&server, Some("b.test")) == a, "nothing has the old name");

    certificates.issue("b", &["10.0.0.1"]);
    wait_until("the missing name is logged", || {
        assert!(served(&server, Some("c.test")) == c, "the previous certificate stays in use");
        server.log.errors().contains("has no DNS name")
    });

    certificates.issue("b", &["b.test"]);
    certificates.issue("a", &["a.test"]);
    context.reload().unwrap();
    for (name, file) in [("a.test", "a"), ("b.test", "b"), ("c.test", "a")] {
        assert!(served(&server, Some(name)) == certificates.leaf(file), "{name} gets {file}");
    }
    assert_ne!(certificates.leaf("a"), a);
}

#[test]
fn a_reload_that_fails_for_one_certificate_loads_the_others() {
    let certificates = Certificates::new();
    let context = certificates.context("a", &["a.test"]);
    let context = certificates.add(context, "b", &["b.test"]);
    let context = certificates.add(context, "c", &["c.test"]);
    let server = Setup::threaded().start(&context);
    let b = certificates.leaf("b");
    for file in ["a", "b", "c"] {
        certificates.issue(file, &[&format!("{file}.test")]);
    }
    std::fs::write(certificates.folder.join("b.key"), "").unwrap();
    let error = context.reload().unwrap_err();
    assert!(error.kind() == SslErrorKind::Empty && error.to_string().contains("b.key"), "{error}");
    assert!(served(&server, Some("a.test")) == certificates.leaf("a"));
    assert!(served(&server, Some("b.test")) == b);
    assert!(served(&server, Some("c.test")) == certificates.leaf("c"));
    // The caller has the first failure; the log gets the second one.
    std::fs::write(certificates.folder.join("c.key"), "").unwrap();
    context.reload().unwrap_err();
    wait_until("the second failure is logged", || {
        served(&server, None);
        server.log.errors().contains("c.key")
    });
    assert!(!server.log.errors().contains("b.key"), "{}", server.log.errors());
}

#[test]
fn a_certificate_can_be_added_to_an_adhoc_one_and_with_client_certificates_and_not_to_a_clone() {
    let certificates = Certificates::new();
    let first = SslContext::adhoc_in(certificates.folder.path(), &[]).unwrap();
    let wanted = ClientCertificates::Required(certificates.authority.certificate().to_owned());
    let strict = certificates.add(first.clone().client_certificates(wanted).unwrap(), "a", &["a.test"]);
    let context = certificates.add(first.clone(), "a", &["a.test"]);
    assert_eq!(context.fingerprint(), first.fingerprint());
    let server = Setup::threaded().start(&context);
    assert!(served(&server, Some("a.test")) == certificates.leaf("a"));
    assert!(served(&server, Some("localhost")) != certificates.leaf("a"));
    let unchanged = Setup::threaded().start(&first);
    assert!(served(&unchanged, Some("a.test")) != certificates.leaf("a"));

    let server = Setup::threaded().start(&strict);
    let mut client = without_handshake(server.addr, config(&[&rustls::version::TLS12]));
    let rustls::StreamOwned { conn, sock } = &mut client.stream;
    let refused = loop {
        match conn.complete_io(sock) {
            Ok(_) if conn.is_handshaking() => {}
            result => break result,
        }
    };
    assert!(refused.is_err(), "a client without a certificate is refused");
}

#[test]
fn a_certificate_without_names_is_refused_and_one_whose_names_are_taken_is_logged() {
    let certificates = Certificates::new();
    let context = certificates.context("a", &["a.test", "b.test"]);
    let (certificate, key) = certificates.issue("address", &["10.0.0.1"]);
    let error = context.clone().with_certificate(&certificate, Some(&key)).unwrap_err();
    let advice = error.to_string();
    assert_eq!(error.kind(), SslErrorKind::NoName);
    assert!(advice.contains("address.crt has no DNS name") && advice.contains("subjectAltName=DNS:"), "{advice}");
    SslContext::from_files(&certificate, Some(&key)).expect("the default certificate needs no name");

    let error = context.clone().with_certificate(certificates.folder.join("absent"), None).unwrap_err();
    assert_eq!(error.kind(), SslErrorKind::Unreadable);

    let own = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(std::sync::Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
    let error = SslContext::from_config(own.into()).with_certificate(&certificate, Some(&key)).unwrap_err();
    assert!(error.kind() == SslErrorKind::Configuration && error.to_string().contains("cert_resolver"), "{error}");

    let context = certificates.add(context, "b", &["B.test"]);
    let (certificate, key) = make_ssl_devcert(certificates.folder.join("dev"), Some("a.test"), None).unwrap();
    let context = context.with_certificate(certificate, Some(&key)).unwrap();
    let server = Setup::threaded().start(&context);
    let logged = server.log.errors();
    assert!(logged.contains("b.crt is not used, because the certificates before it have all of its names"), "{logged}");
    assert_eq!(logged.lines().count(), 1, "the third certificate is used for localhost: {logged}");
    assert!(served(&server, Some("b.test")) == certificates.leaf("a"));
    assert!(served(&server, Some("localhost")) == certificates.leaf("dev"));
}
