//! PEP 3333: how a WSGI application is called, and the objects that it is given.
//!
//! `application` makes one call: `environ` builds the dict (with the objects of `environ_objects`, `error_stream`,
//! `input` and `socket`), `start_response` takes the head of the response, and `body` turns the result into blocks
//! (`block_iterator`). What a connection keeps between its requests is in `connection_state`.

pub(crate) mod application;
mod block_iterator;
mod body;
mod connection_state;
pub(crate) mod convert;
pub(crate) mod environ;
mod environ_objects;
mod error_stream;
pub(crate) mod file_wrapper;
mod input;
mod input_progress;
pub(crate) mod request_handler;
mod socket;
mod start_response;
mod werkzeug_response;
