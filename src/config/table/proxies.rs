//! Proxies in front of the server.

use super::Setting;
use crate::config::parsers::{parse, path};
use crate::config::setting::Scope;
use crate::ProxyProtocol;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::value(
        "forwarded-allow-ips",
        "LIST",
        "Proxies to trust, separated by commas: addresses, networks as 10.0.0.0/8, unix: for Unix sockets, * for everyone",
        |config, value| parse(value).map(|trusted| config.proxies.trusted = trusted),
    )
    .default("127.0.0.0/8,::1,unix:")
    .has_commas(),
    Setting::value(
        "forwarded-hops",
        "FIELD=N,...",
        "Number of trusted proxies that set each X-Forwarded field; 0 ignores the field",
        |config, value| parse(value).map(|hops| config.proxies.hops = hops),
    )
    .default("for=1,proto=1,host=0,port=0,prefix=0")
    .has_commas()
    .scope(Scope::Amboss),
    Setting::value(
        "root-path",
        "/PATH",
        "Path below which clients find the application (SCRIPT_NAME), whether or not a proxy removes it from the target",
        |config, value| path(value, "/shop").map(|path| config.root_path = Some(path)),
    )
    .scope(Scope::OwnServer),
    Setting::value(
        "health",
        "/PATH",
        "Answer GET of this path with 200 while the server runs, for any host, without the application and without a \
         thread, for the checks of a load balancer",
        |config, value| path(value, "/healthz").map(|path| config.health = Some(path)),
    )
    .scope(Scope::OwnServer),
    Setting::switch(
        "forwarded-rfc7239",
        "Read the Forwarded field (RFC 7239) instead of X-Forwarded fields",
        |config| &mut config.proxies.forwarded,
    )
    .scope(Scope::Amboss),
    Setting::choice(
        "proxy-protocol",
        "WHEN",
        &[
            ("required", "Connections without a header are closed"),
            ("optional", "Connections may begin without a header"),
            ("off", "Connections begin without a header"),
        ],
        "Read the client's address from a PROXY protocol header, version 1 or 2, in front of each connection from a \
         trusted proxy. X-Forwarded fields are then believed only if that address is one of a trusted proxy as well",
        |config, value| {
            config.proxies.protocol = match value.to_str() {
                Some("required") => ProxyProtocol::Required,
                Some("optional") => ProxyProtocol::Optional,
                _ => ProxyProtocol::Off,
            };
            Ok(())
        },
    )
    .missing("required")
    .default("off")
    .scope(Scope::Amboss),
];
