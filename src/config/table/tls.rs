//! HTTPS.

use super::Setting;
use crate::config::setting::Scope;

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
    .needs(&["cert"]),
    Setting::switch(
        "http-and-https",
        "Serve plain HTTP on the same port as well, instead of redirecting it to HTTPS",
        |config| &mut config.tls.http_and_https,
    )
    .needs(&["adhoc", "cert"])
    .scope(Scope::Amboss),
];
