//! The servers of this crate, end to end: real sockets, real clients.
//!
//! - `wire`: bytes in, bytes out, and the environ that the application saw; the strict table.
//! - `contract`: what server and application owe each other (PEP 3333), sentence by sentence.
//! - `access_log`: when requests are logged, and with which times.
//! - `servers`: what tells the three servers apart.
//! - `forking`: processes.
//! - `one_request`: `handle_request`.
//! - `upgrade`: connections that leave HTTP.
//! - `addresses`: what can be listened on.
//! - `fleet`: several loops in one server.
//! - `handover`: connections that go on in another server.
//! - `transport`: layers between sockets and HTTP.
//! - `robust`: slow, broken and hostile clients.
//! - `resources`: exhausted resources.
//! - `stopping`: an end that loses nothing.
//! - `clients`: curl and Python.
//! - `nginx`: a proxy in front.
//!
//! Where a system has no forking, no Unix sockets or no /proc, those rooms are closed.
//!
//! `support` starts servers and speaks raw HTTP to them; `helper` is what tests start as a process of its own.

mod support;

#[cfg(unix)]
mod helper;

mod wire;

mod contract;

mod access_log;

mod servers;

#[cfg(unix)]
mod forking;

mod one_request;

mod upgrade;

#[cfg(unix)]
mod addresses;

mod fleet;

mod handover;

mod transport;

mod robust;

#[cfg(unix)]
mod resources;

mod stopping;

mod clients;

#[cfg(unix)]
mod nginx;
