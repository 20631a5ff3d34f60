//! Ad-hoc certificates, `make_ssl_devcert` and the local authority.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::programs::*;
use crate::support::*;
use amboss_tls::{make_ssl_devcert, LocalCa, SslContext, SslErrorKind};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The contents of a certificate, as openssl prints them.
fn openssl_text(path: &Path) -> Option<String> {
    openssl(&["x509", "-in", path.to_str().unwrap(), "-noout", "-text", "-nameopt", "RFC2253"])
}

const LOOPBACK: &str = "DNS:localhost, DNS:*.localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1";

#[test]
fn an_adhoc_certificate_is_reused_unless_it_lacks_a_host() {
    let folder = TempDir::new("adhoc");
    let (cache, file) = (folder.join("cache/amboss"), folder.join("cache/amboss/adhoc.pem"));
    let first = SslContext::adhoc_in(&cache, &[]).unwrap().fingerprint();
    assert_eq!(SslContext::adhoc_in(&cache, &[]).unwrap().fingerprint(), first);
    assert_eq!(SslContext::adhoc_in(&cache, &["localhost", "::1", "0.0.0.0"]).unwrap().fingerprint(), first);
    assert_eq!((mode(&file), mode(&cache)), (0o600, 0o700));
    if let Some(text) = openssl_text(&file) {
        assert!(text.contains("O=Dummy Certificate") && text.contains(LOOPBACK), "{text}");
        assert!(text.contains("TLS Web Server Authentication") && text.contains("prime256v1"), "{text}");
    }

    let second = SslContext::adhoc_in(&cache, &["one.test", "192.0.2.1"]).unwrap().fingerprint();
    assert_ne!(second, first);
    // Hosts are added, so that two servers with different hosts do not replace each other's certificate in turn.
    let third = SslContext::adhoc_in(&cache, &["Two.test"]).unwrap().fingerprint();
    assert_ne!(third, second);
    for hosts in [&["one.test"][..], &["two.test", "192.0.2.1"], &[]] {
        assert_eq!(SslContext::adhoc_in(&cache, hosts).unwrap().fingerprint(), third, "{hosts:?}");
    }
    let error = SslContext::adhoc_in(&cache, &["not a host"]).unwrap_err();
    assert_eq!(error.kind(), SslErrorKind::InvalidHost);
}

#[test]
fn an_adhoc_certificate_that_is_unsafe_or_expires_soon_is_replaced() {
    let folder = TempDir::new("adhoc-bad");
    let file = folder.join("adhoc.pem");
    let day = std::time::Duration::from_secs(24 * 3600);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let valid_for = |days: u32| {
        let hosts = ["localhost", "*.localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + days * day;
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
    };
    for (content, mode, reused) in [
        (valid_for(31), 0o600, true),
        (valid_for(29), 0o600, false),
        (valid_for(31), 0o644, false),
        ("rubbish".to_owned(), 0o600, false),
        (String::new(), 0o600, false),
    ] {
        std::fs::write(&file, &content).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let context = SslContext::adhoc_in(folder.path(), &[]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap() == content, reused, "{content}");
        assert_eq!(Setup::threaded().start(&context).client().get("/").text(), "hello");
    }
}

#[test]
fn adhoc_certificates_work_concurrently_and_without_a_writable_folder() {
    let folder = TempDir::new("adhoc-many");
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (cache, host) = (folder.join("cache"), format!("host{number}.test"));
            std::thread::spawn(move || {
                let server = Setup::threaded().start(&SslContext::adhoc_in(cache, &[&host]).unwrap());
                assert_eq!(server.client().get("/").text(), "hello");
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let left: Vec<_> =
        std::fs::read_dir(folder.join("cache")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["adhoc.pem"]);

    // The parent of the cache folder is a file, so the folder cannot be created.
    std::fs::write(folder.join("file"), "").unwrap();
    let server = Setup::threaded().start(&SslContext::adhoc_in(folder.join("file/cache"), &[]).unwrap());
    assert_eq!(server.client().get("/").text(), "hello");
    assert!(server.log.errors().contains("is for this run only: can't write"), "{}", server.log.errors());
}

#[test]
fn devcerts_have_the_same_names_as_those_of_werkzeug_and_are_accepted_by_curl() {
    let folder = TempDir::new("devcert");
    for (host, cn, subject, names) in [
        (Some("my.test"), None, "CN=my.test", "DNS:my.test, DNS:*.my.test, DNS:localhost"),
        (None, None, "CN=*", LOOPBACK),
        (Some("localhost"), None, "CN=localhost", LOOPBACK),
        (
            Some("192.0.2.1"),
            Some("other.test"),
            "CN=other.test",
            "IP Address:192.0.2.1, DNS:other.test, DNS:*.other.test",
        ),
        (None, Some("*.star.test"), "CN=*.star.test", "DNS:*.star.test, DNS:localhost"),
    ] {
        let (certificate, key) = make_ssl_devcert(folder.join("a.b"), host, cn).unwrap();
        assert_eq!((&certificate, &key), (&folder.join("a.b.crt"), &folder.join("a.b.key")));
        assert_eq!((mode(&certificate), mode(&key)), (0o644, 0o600));
        let Some(text) = openssl_text(&certificate) else { return };
        assert!(text.contains(names), "{host:?}: {text}");
        assert!(text.contains(&format!("Subject: {subject},O=Dummy Certificate\n")), "{host:?}: {text}");
        assert!(text.contains("TLS Web Server Authentication") && text.contains("CA:FALSE"), "{text}");
        let server = Setup::threaded().start(&SslContext::from_files(&certificate, Some(&key)).unwrap());
        let Some(text) = curl(&["--cacert", certificate.to_str().unwrap(), "-4", &server.url("/")], b"") else {
            return;
        };
        assert_eq!(text, "hello");
    }
    assert_eq!(make_ssl_devcert(folder.join("x"), Some("a b"), None).unwrap_err().kind(), SslErrorKind::InvalidHost);
    let error = make_ssl_devcert(folder.join("missing/x"), None, None).unwrap_err();
    assert_eq!(error.kind(), SslErrorKind::Unwritable);
    assert!(error.to_string().contains("missing/x.key"), "{error}");
}

#[test]
fn the_local_authority_is_created_once_and_its_certificates_are_trusted() {
    let folder = TempDir::new("ca");
    let home = folder.join("data/amboss");
    // Of several concurrent calls, exactly one creates the authority.
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let home = home.clone();
            std::thread::spawn(move || {
                let ca = LocalCa::open_in(home).unwrap();
                (ca.is_new(), std::fs::read_to_string(ca.certificate()).unwrap())
            })
        })
        .collect();
    let opened: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(opened.iter().filter(|(is_new, _)| *is_new).count(), 1);
    assert!(opened.iter().all(|(_, certificate)| *certificate == opened[0].1));
    assert!(!opened[0].1.contains("PRIVATE KEY"));

    let ca = LocalCa::open_in(&home).unwrap();
    assert!(!ca.is_new());
    assert_eq!((mode(&home), mode(&home.join("ca.pem")), mode(ca.certificate())), (0o700, 0o600, 0o644));
    let authority = ca.certificate().to_str().unwrap();
    let Some(text) = openssl_text(ca.certificate()) else { return };
    assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign"), "{text}");

    let (certificate, key) = ca.issue(&["my.test", "127.0.0.1", "[::1]"], folder.join("leaf")).unwrap();
    assert_eq!(mode(&key), 0o600);
    let path = certificate.to_str().unwrap();
    openssl(&["verify", "-x509_strict", "-CAfile", authority, "-purpose", "sslserver", path]).unwrap();
    let server = Setup::threaded().start(&SslContext::from_files(&certificate, Some(&key)).unwrap());
    let port = server.addr.port();
    let resolve = format!("my.test:{port}:127.0.0.1");
    for host in ["my.test", "127.0.0.1"] {
        let url = format!("https://{host}:{port}/");
        let Some(text) = curl(&["--cacert", authority, "--resolve", &resolve, &url], b"") else { return };
        assert_eq!(text, "hello");
    }
    assert!(
        !try_curl(&["--cacert", authority, "-4", &server.url("/")], b"").unwrap().success,
        "the certificate is not for localhost"
    );
    // Python checks authorities more strictly than curl.
    let program = r#"
import ssl, sys, urllib.request as request
trusting = request.HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[2]))
print(request.build_opener(request.ProxyHandler({}), trusting).open(sys.argv[1]).read())
"#;
    let Some(text) = python(program, &[&format!("https://127.0.0.1:{port}/"), authority]) else { return };
    assert_eq!(text, "b'hello'\n");

    let (certificate, _) = ca.issue(&[], folder.join("leaf")).unwrap();
    assert!(openssl_text(&certificate).unwrap().contains(LOOPBACK));
    assert_eq!(ca.issue(&["a b"], folder.join("leaf")).unwrap_err().kind(), SslErrorKind::InvalidHost);
    std::fs::remove_file(ca.certificate()).unwrap();
    assert!(LocalCa::open_in(&home).unwrap().certificate().exists(), "the certificate is written again");
    std::fs::write(home.join("ca.pem"), "rubbish").unwrap();
    assert!(LocalCa::open_in(&home).unwrap_err().to_string().contains("ca.pem"));
}

#[test]
fn how_to_trust_mentions_the_file_and_every_system() {
    let folder = TempDir::new("trust");
    let ca = LocalCa::open_in(folder.path()).unwrap();
    let text = ca.how_to_trust();
    for word in
        ["Debian", "Fedora", "Arch", "macOS", "Windows", "Firefox", "Chrome", ca.certificate().to_str().unwrap()]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
}
