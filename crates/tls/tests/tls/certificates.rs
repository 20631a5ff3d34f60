//! Files created by openssl, everything that can be wrong with them, and certificates that change on disk.

use std::path::Path;

use crate::programs::*;
use crate::support::*;
use amboss_tls::{make_ssl_devcert, LocalCa, SslContext, SslErrorKind};

/// Creates a self-signed certificate for a key in a file, with the command in Werkzeug's documentation.
fn certify(key: &str, certificate: &str) -> Option<String> {
    let arguments = ["req", "-new", "-x509", "-sha256", "-days", "365", "-subj", "/CN=localhost", "-key", key];
    openssl(&[&arguments[..], &["-out", certificate]].concat())
}

#[test]
fn every_supported_key_type_works() {
    let folder = TempDir::new("keys");
    let key = folder.join_str("ssl.key");
    for (what, arguments, begins) in [
        ("PKCS#1", &["genrsa", "-traditional", "-out", &key, "2048"][..], "-----BEGIN RSA PRIVATE KEY-----"),
        ("PKCS#8", &["genpkey", "-algorithm", "RSA", "-out", &key], "-----BEGIN PRIVATE KEY-----"),
        ("SEC1 P-256", &["ecparam", "-name", "prime256v1", "-genkey", "-out", &key], "-----BEGIN EC PARAMETERS-----"),
        (
            "SEC1 P-384",
            &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", &key],
            "-----BEGIN EC PRIVATE KEY-----",
        ),
        ("Ed25519", &["genpkey", "-algorithm", "ED25519", "-out", &key], "-----BEGIN PRIVATE KEY-----"),
    ] {
        if openssl(arguments).is_none() {
            return;
        }
        let certificate = folder.join_str("ssl.cert");
        certify(&key, &certificate).unwrap();
        let text = std::fs::read_to_string(&key).unwrap();
        assert!(text.starts_with(begins), "{what}: {text}");
        let certificate_text = std::fs::read_to_string(&certificate).unwrap();
        let (both, windows) = (folder.join_str("both.pem"), folder.join_str("windows.pem"));
        std::fs::write(&both, [&text[..], &certificate_text].concat()).unwrap();
        std::fs::write(&windows, format!("\u{feff}{certificate_text}some words\n{text}").replace('\n', "\r\n"))
            .unwrap();
        for context in [
            SslContext::from_files(&certificate, Some(key.as_ref())),
            SslContext::from_files(&both, None),
            SslContext::from_files(&both, Some(both.as_ref())),
            SslContext::from_files(&windows, None),
        ] {
            let context = context.unwrap_or_else(|error| panic!("{what}: {error}"));
            let server = Setup::threaded().start(&context);
            for version in BOTH {
                let mut client = connect_tls(server.addr, config(&[version]));
                assert_eq!(client.get("/").text(), "hello", "{what}");
            }
        }
        let server = Setup::threaded().start(&SslContext::from_files(&certificate, Some(key.as_ref())).unwrap());
        if what != "Ed25519" {
            if let Some(text) = curl(&["--cacert", &certificate, "-4", &server.url("/")], b"") {
                assert_eq!(text, "hello", "{what}");
            }
        }
        let shown = openssl(&["x509", "-in", &certificate, "-noout", "-fingerprint", "-sha256"]).unwrap();
        let fingerprint = SslContext::from_files(&certificate, Some(key.as_ref())).unwrap().fingerprint().unwrap();
        assert!(shown.trim().ends_with(&format!("={fingerprint}")), "{shown} {fingerprint}");
    }
}

#[test]
fn every_problem_with_a_file_has_its_own_error_and_advice() {
    let folder = TempDir::new("wrong");
    let path = |name: &str| folder.join_str(name);
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.join(name), content).unwrap();
        folder.join_str(name)
    };
    let (key, certificate) = (path("good.key"), path("good.crt"));
    if openssl(&["genrsa", "-traditional", "-out", &key, "2048"]).is_none() {
        return;
    }
    certify(&key, &certificate).unwrap();
    openssl(&["genrsa", "-out", &path("other.key"), "2048"]).unwrap();
    // Old instructions create keys of this size, which are no longer safe.
    openssl(&["genrsa", "-out", &path("short.key"), "1024"]).unwrap();
    certify(&path("short.key"), &path("short.crt")).unwrap();
    openssl(&["rsa", "-in", &key, "-aes256", "-passout", "pass:secret", "-out", &path("encrypted8.key")]).unwrap();
    let old =
        ["rsa", "-in", &key, "-aes256", "-passout", "pass:secret", "-traditional", "-out", &path("encrypted1.key")];
    openssl(&old).unwrap();
    openssl(&["x509", "-in", &certificate, "-outform", "DER", "-out", &path("der.crt")]).unwrap();
    openssl(&["rsa", "-in", &key, "-outform", "DER", "-out", &path("der.key")]).unwrap();
    let both =
        ["pkcs12", "-export", "-in", &certificate, "-inkey", &key, "-passout", "pass:", "-out", &path("both.p12")];
    openssl(&both).unwrap();
    // Without an extension file, openssl 3.0 issues an X.509 v1 certificate.
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=localhost", "-out", &path("request")]).unwrap();
    openssl(&["x509", "-req", "-in", &path("request"), "-signkey", &key, "-out", &path("v1.crt")]).unwrap();
    openssl(&["ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", &path("odd.key")]).unwrap();
    certify(&path("odd.key"), &path("odd.crt")).unwrap();
    let text = std::fs::read_to_string(&certificate).unwrap();
    make_ssl_devcert(folder.join("authority"), None, None).unwrap();
    let authority = std::fs::read_to_string(folder.join("authority.crt")).unwrap();
    let (expired, expired_key) = expired();

    use SslErrorKind as Kind;
    for (certificate, key, kind, words) in [
        (path("missing.crt"), Some(&key), Kind::Unreadable, "check the path"),
        (certificate.clone(), Some(&path("missing.key")), Kind::Unreadable, "missing.key"),
        (folder.path().to_str().unwrap().to_owned(), Some(&key), Kind::Unreadable, "can't read"),
        (write("empty.crt", b" \n"), Some(&key), Kind::Empty, "is empty"),
        (certificate.clone(), Some(&write("empty.key", b"")), Kind::Empty, "is empty"),
        (write("words.crt", b"some words"), Some(&key), Kind::NoCertificate, "BEGIN CERTIFICATE"),
        (key.clone(), Some(&certificate), Kind::NoCertificate, "BEGIN CERTIFICATE"),
        (certificate.clone(), None, Kind::NoKey, "name the key's own file too"),
        (certificate.clone(), Some(&write("words.key", b"some words")), Kind::NoKey, "BEGIN PRIVATE KEY"),
        (certificate.clone(), Some(&path("encrypted8.key")), Kind::EncryptedKey, "openssl pkey -in"),
        (certificate.clone(), Some(&path("encrypted1.key")), Kind::EncryptedKey, "openssl pkey -in"),
        (certificate.clone(), Some(&path("other.key")), Kind::KeyMismatch, "does not belong to the certificate"),
        (path("v1.crt"), Some(&path("other.key")), Kind::KeyMismatch, "does not belong to the certificate"),
        (path("short.crt"), Some(&path("short.key")), Kind::UnsupportedKey, "openssl genrsa 2048"),
        (path("odd.crt"), Some(&path("odd.key")), Kind::UnsupportedKey, "P-256 or P-384"),
        (path("der.crt"), Some(&key), Kind::Der, "openssl x509 -inform DER"),
        (certificate.clone(), Some(&path("der.key")), Kind::Der, "openssl pkey -inform DER"),
        (path("both.p12"), None, Kind::Der, "openssl pkcs12 -in"),
        (write("corrupted.crt", text.replace("\nMII", "\n!!!").as_bytes()), Some(&key), Kind::Malformed, "is damaged"),
        (write("cut.crt", &text.as_bytes()[..300]), Some(&key), Kind::Malformed, "is damaged"),
        (
            write("order.crt", [authority, text.clone()].concat().as_bytes()),
            Some(&key),
            Kind::KeyMismatch,
            "in the wrong order",
        ),
        (
            write("expired.crt", expired.as_bytes()),
            Some(&write("expired.key", expired_key.as_bytes())),
            Kind::Expired,
            "expired 3 days ago",
        ),
    ] {
        let error = SslContext::from_files(&certificate, key.map(Path::new)).unwrap_err();
        assert_eq!(error.kind(), kind, "{certificate} {key:?}: {error}");
        let sentence = error.to_string();
        assert!(sentence.contains(words) && !sentence.contains('\n'), "{certificate} {key:?}: {sentence}");
    }
    // The commands in the messages work.
    openssl(&["x509", "-inform", "DER", "-in", &path("der.crt"), "-out", &path("cert.pem")]).unwrap();
    openssl(&["pkey", "-inform", "DER", "-in", &path("der.key"), "-out", &path("key.pem")]).unwrap();
    openssl(&["pkcs12", "-in", &path("both.p12"), "-passin", "pass:", "-nodes", "-out", &path("both.pem")]).unwrap();
    openssl(&["pkey", "-in", &path("encrypted8.key"), "-passin", "pass:secret", "-out", &path("plain.key")]).unwrap();
    SslContext::from_files(path("cert.pem"), Some(path("key.pem").as_ref())).unwrap();
    SslContext::from_files(path("both.pem"), None).unwrap();
    SslContext::from_files(&certificate, Some(path("plain.key").as_ref())).unwrap();
}

/// A certificate that expired three days ago, and its key.
fn expired() -> (String, String) {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let day = std::time::Duration::from_secs(24 * 3600);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - 10 * day);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + (now - 3 * day - day / 2);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The certificate that a new client receives.
fn served_certificate(server: &TestServer) -> Vec<u8> {
    let client = server.client();
    client.stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_changed_certificate_is_used_without_a_restart() {
    let folder = TempDir::new("changed");
    let (certificate, key) = make_ssl_devcert(folder.join("dev"), Some("one.test"), None).unwrap();
    let context = SslContext::from_files(&certificate, Some(&key)).unwrap();
    let server = Setup::threaded().start(&context);
    let (before, fingerprint) = (served_certificate(&server), context.fingerprint());
    let mut old = server.client();

    make_ssl_devcert(folder.join("dev"), Some("two.test"), None).unwrap();
    wait_until("the new certificate is served", || served_certificate(&server) != before);
    assert_ne!(context.fingerprint(), fingerprint);
    assert_eq!(old.get("/").text(), "hello", "existing connections stay open");
    let after = served_certificate(&server);

    // A key that does not match, as between the two writes of a renewal, is logged once; a later write fixes it.
    let (good_certificate, good_key) = (std::fs::read(&certificate).unwrap(), std::fs::read(&key).unwrap());
    let (other, _) = make_ssl_devcert(folder.join("other"), None, None).unwrap();
    std::fs::copy(other, &certificate).unwrap();
    wait_until("the mismatch is logged", || {
        assert!(served_certificate(&server) == after, "the previous certificate stays in use");
        server.log.errors().contains("does not belong to the certificate")
    });
    std::fs::write(&key, b"").unwrap();
    wait_until("the next problem is logged, too", || {
        assert!(served_certificate(&server) == after, "the previous certificate stays in use");
        server.log.errors().contains("is empty")
    });
    assert_eq!(server.log.errors().lines().count(), 2, "{}", server.log.errors());
    std::fs::write(&key, &good_key).unwrap();
    std::fs::write(&certificate, &good_certificate).unwrap();
    make_ssl_devcert(folder.join("dev"), Some("three.test"), None).unwrap();
    wait_until("the third certificate is served", || served_certificate(&server) != after);
    assert_eq!(server.log.errors().lines().count(), 2, "{}", server.log.errors());
}

#[test]
fn replaced_symbolic_links_are_noticed_and_the_whole_chain_is_sent() {
    let folder = TempDir::new("chains");
    let ca = LocalCa::open_in(folder.join("ca")).unwrap();
    ca.issue(&["localhost"], folder.join("one")).unwrap();
    // Symbolic links that are replaced, as certbot does it.
    let link_to = |to: &str| {
        for extension in ["crt", "key"] {
            let link = folder.join(&format!("live.{extension}"));
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(folder.join(&format!("{to}.{extension}")), link).unwrap();
        }
    };
    link_to("one");
    let context = SslContext::from_files(folder.join("live.crt"), Some(&folder.join("live.key"))).unwrap();
    let server = Setup::threaded().start(&context);
    assert_eq!(server.client().stream.conn.peer_certificates().unwrap().len(), 2);
    let before = served_certificate(&server);
    ca.issue(&["localhost"], folder.join("two")).unwrap();
    link_to("two");
    wait_until("the new certificate is served", || served_certificate(&server) != before);
    let authority = ca.certificate().to_str().unwrap();
    let Some(text) = curl(&["--cacert", authority, "-4", &server.url("/")], b"") else { return };
    assert_eq!(text, "hello");
}

#[test]
fn a_rustls_configuration_is_restricted_to_http() {
    let folder = TempDir::new("own");
    let (certificate, key) = make_ssl_devcert(folder.join("dev"), None, None).unwrap();
    use rustls::pki_types::pem::PemObject;
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_file(certificate).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(key).unwrap();
    let mut config_with_h2 =
        rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    config_with_h2.alpn_protocols = vec![b"h2".to_vec()];
    config_with_h2.max_early_data_size = 10_000;
    let context = SslContext::from_config(config_with_h2.into());
    assert_eq!(context.fingerprint(), None);
    let server = Setup::threaded().start(&context);
    let mut client_config = config(&BOTH);
    client_config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = connect_tls(server.addr, client_config);
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(client.get("/environ").text().contains("SSL_PROTOCOL=TLSv1.3\n"));
}
