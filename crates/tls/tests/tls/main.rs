//! TLS end to end: real sockets, real clients.
//!
//! - `clients`: curl, openssl, Python and Chromium.
//! - `handshakes`: slow, silent, broken and outdated clients, and what the log says of them; a scan for weak settings.
//! - `transfers`: large bodies in both directions, slow readers, pipelining, upgrades, and how connections end.
//! - `forking`: a process for each request.
//! - `hostile`: records no honest client sends.
//! - `certificates`: files made by openssl, all that can be wrong with them, and certificates that change on disk.
//! - `made`: adhoc certificates, `make_ssl_devcert` and the local authority.
//! - `client_certificates`: optional and required, and what applications see of them.
//! - `plain`: HTTP in the clear on a port that speaks TLS.
//!
//! `support` starts servers and speaks TLS to them; `tools` runs programs.

mod support;

mod tools;

mod clients;

mod handshakes;

mod transfers;

mod forking;

mod hostile;

mod certificates;

mod made;

mod client_certificates;

mod plain;
