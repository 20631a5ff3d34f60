//! PEP 3333: how a WSGI application is called, and the objects that it is given.
//!
//! `application` makes one call: `environ` builds the dict (with the objects of `environ_objects`, `error_stream`,
//! `input` and `socket`), `start_response` takes the head of the response, and `body` turns the result into blocks
//! (`block_iterator`). With gevent or eventlet, `task_application` takes the place of `application`: it makes a `task`, which
//! the driver in `amboss/_greenlets.py` answers. What a connection keeps between its requests is in `connection_state`.

pub(crate) mod application;
mod block_iterator;
mod body;
mod connection_state;
pub(crate) mod convert;
mod current_request;
pub(crate) mod environ;
mod environ_objects;
mod error_stream;
pub(crate) mod file_wrapper;
mod head;
mod input;
mod input_progress;
pub(crate) mod request_handler;
mod socket;
mod start_response;
pub(crate) mod task;
pub(crate) mod task_application;
mod werkzeug_response;
