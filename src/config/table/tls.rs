//! HTTPS.

use super::Setting;
use crate::config::parsers::text;
use crate::config::setting::Scope;
use crate::TlsVersion;

/// The settings of which one has to be given for those that concern HTTPS.
const CERTIFICATE: &[&str] = &["adhoc", "cert"];

pub(super) const SETTINGS: &[Setting] = &[
    Setting::switch(
        "adhoc",
        "Serve HTTPS with a certificate made for this machine, which is kept and reused: a browser asks only once whether \
         to trust it",
        |config| &mut config.tls.adhoc,
    )
    .excludes("certificate")
    .scope(Scope::Amboss),
    Setting::list(
        "cert",
        "FILE",
        "Serve HTTPS with the certificate chain in this PEM file; a changed file is loaded without a restart. Given \
         several times, a client gets the certificate with the name that it asks for, or else the first one",
        |config, value| {
            config.tls.cert.push(value.into());
            Ok(())
        },
    )
    .aliases(&["certfile"])
    .excludes("certificate")
    .scope(Scope::Amboss),
    Setting::list(
        "key",
        "FILE",
        "Private key (PEM) of the certificate; with several certificates, one for each --cert in the same order",
        |config, value| {
            config.tls.key.push(value.into());
            Ok(())
        },
    )
    .aliases(&["keyfile"])
    .default_words("the one in the file of --cert")
    .needs(&["cert"])
    .belongs_to("cert"),
    Setting::switch(
        "http-and-https",
        "Serve plain HTTP on the same port as well, instead of redirecting it to HTTPS",
        |config| &mut config.tls.http_and_https,
    )
    .needs(CERTIFICATE)
    .scope(Scope::Amboss),
    Setting::value(
        "client-ca",
        "FILE",
        "Ask clients for a certificate that is issued by an authority in this PEM file",
        |config, value| {
            config.tls.client_ca = Some(value.into());
            Ok(())
        },
    )
    .needs(CERTIFICATE)
    .scope(Scope::Amboss),
    Setting::choice(
        "client-verify",
        "WHEN",
        &[
            ("required", "Clients without a certificate are refused"),
            ("optional", "Clients may connect without a certificate, and SSL_CLIENT_CERT tells the application"),
        ],
        "Whether clients need a certificate of --client-ca",
        |config, value| {
            config.tls.client_optional = value == "optional";
            Ok(())
        },
    )
    .default("required")
    .needs(&["client-ca"])
    .scope(Scope::Amboss),
    Setting::choice(
        "tls-min",
        "VERSION",
        &[("1.2", "TLS 1.2 and 1.3"), ("1.3", "TLS 1.3 alone")],
        "Oldest version of TLS that clients may use",
        |config, value| {
            config.tls.min_version = if value == "1.3" { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
            Ok(())
        },
    )
    .default("1.2")
    .needs(CERTIFICATE)
    .scope(Scope::Amboss),
    Setting::value(
        "ciphers",
        "LIST",
        "Cipher suites of TLS that clients may use, separated by colons, with the names of OpenSSL or IANA; a version of \
         TLS without a suite in the list keeps its own",
        |config, value| {
            config.tls.ciphers = Some(text(value)?.to_owned());
            Ok(())
        },
    )
    .default_words("all of rustls, each with forward secrecy")
    .needs(CERTIFICATE)
    .scope(Scope::Amboss),
];
