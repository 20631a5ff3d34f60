//! PEP 3333: how a WSGI application is called, and the objects that it is given.

pub(crate) mod application;
pub(crate) mod body;
pub(crate) mod environ;
pub(crate) mod environ_objects;
pub(crate) mod file_wrapper;
pub(crate) mod input;
pub(crate) mod request_handler;
pub(crate) mod socket;
pub(crate) mod start_response;
pub(crate) mod werkzeug_response;
