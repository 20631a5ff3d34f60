//! The servers of this crate, end to end: real sockets, real clients.
//!
//! | module | holds |
//! |---|---|
//! | `wire` | bytes in, bytes out, and the environ that the application sees |
//! | `strictness` | requests that are refused, and what leniency changes of it |
//! | `contract` | what server and application owe each other (PEP 3333), requirement by requirement |
//! | `access_log` | when requests are logged, and with which times |
//! | `concurrency` | how the three servers differ: one request at a time, threads, processes |
//! | `forking` | a process for each request |
//! | `queueing` | requests that wait for a thread |
//! | `immediate` | requests that take no slot, because the application answers them without waiting |
//! | `loop_group` | several event loops in one server |
//! | `handle_request` | one request at a time, on demand |
//! | `addresses` | what a server can listen on |
//! | `guest` | a server that another event loop drives |
//! | `handover` | connections that move to another server |
//! | `upgrade` | connections that leave HTTP |
//! | `transport` | layers between sockets and HTTP |
//! | `proxies` | forwarded fields and the PROXY protocol |
//! | `slow_clients` | clients that send or read slowly, or not at all |
//! | `broken_clients` | clients that flood, reset, or send too much |
//! | `resources` | exhausted descriptors, threads and processes |
//! | `shutdown` | stopping without losing a request |
//! | `external_clients` | curl and Python |
//! | `nginx` | a proxy in front |
//!
//! Modules that need fork, Unix sockets or /proc are compiled on Unix only.
//!
//! `support` starts servers in threads, `server_process` starts them in processes of their own; clients and waiting
//! come from `amboss_testkit`.

mod support;

#[cfg(unix)]
mod server_process;

mod wire;

mod strictness;

mod contract;

mod access_log;

mod concurrency;

#[cfg(unix)]
mod forking;

mod queueing;

mod immediate;

mod loop_group;

mod handle_request;

#[cfg(unix)]
mod addresses;

#[cfg(unix)]
mod guest;

mod handover;

mod upgrade;

mod transport;

mod proxies;

mod slow_clients;

mod broken_clients;

#[cfg(unix)]
mod resources;

mod shutdown;

mod external_clients;

#[cfg(unix)]
mod nginx;
