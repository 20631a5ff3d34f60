//! The layer that makes the transport of each accepted connection.

use std::sync::Arc;

use amboss::{Log, Socket, Transport, TransportLayer};
use pyo3::prelude::*;

use crate::ssl::engine::Engine;
use crate::ssl::transport::PySslTransport;

/// TLS by an `ssl.SSLContext`.
pub(crate) struct PySslLayer {
    engine: Arc<Engine>,
}

impl PySslLayer {
    pub(crate) fn new(context: Py<PyAny>, log: Arc<dyn Log>) -> PySslLayer {
        PySslLayer { engine: Engine::new(context, log) }
    }
}

impl TransportLayer for PySslLayer {
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport> {
        Box::new(PySslTransport::new(self.engine.clone(), socket))
    }

    fn scheme(&self) -> &'static str {
        "https"
    }
}

impl Drop for PySslLayer {
    fn drop(&mut self) {
        self.engine.stop();
    }
}
