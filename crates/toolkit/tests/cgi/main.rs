//! CGI scripts behind a real server, and an application as a CGI script under other servers.
//!
//! | module | what must hold |
//! |---|---|
//! | `requests` | a script gets its request: environment, body, place |
//! | `responses` | what a script writes becomes a response, or an error that says why |
//! | `endings` | limits hold, and no script outlives its request |
//! | `programs` | scripts in Python, `run_with_cgi` under this server, and under lighttpd |
#![cfg(unix)]

mod endings;
mod programs;
mod requests;
mod responses;
mod support;
