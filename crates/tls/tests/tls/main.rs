//! End-to-end tests of TLS with real sockets and real clients.
//!
//! - `clients`: curl, openssl, Python and Chromium.
//! - `handshakes`: slow, silent, broken and outdated clients, and what is logged about them; a scan for weak settings.
//! - `transfers`: large bodies in both directions, slow readers, pipelining, upgrades, and how connections end.
//! - `forking`: a process per request.
//! - `hostile`: records that no honest client sends.
//! - `certificates`: files created by openssl, everything that can be wrong with them, and files that change.
//! - `server_names`: several certificates, picked by the name that a client asks for.
//! - `generated`: ad-hoc certificates, `make_ssl_devcert` and the local authority.
//! - `client_certificates`: optional and required ones, and what applications see of them.
//! - `plain_http`: plain HTTP on a port that speaks TLS.
//! - `proxies`: the PROXY protocol in front of the handshake.
//!
//! `support` starts servers with the application in `fixture`; `tls_client` adds TLS to the HTTP client of
//! `amboss_testkit`; `programs` runs openssl.

mod fixture;

mod tls_client;

mod support;

mod programs;

mod clients;

mod handshakes;

mod transfers;

mod forking;

mod hostile;

mod certificates;

mod server_names;

mod generated;

mod client_certificates;

mod plain_http;

mod proxies;
