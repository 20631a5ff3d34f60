//! The reasons why connections end.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $unusual:literal, $message:literal;)*) => {
        /// The reason why a connection ended before both sides were done with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
            /// The server refused a request with this error.
            Refused(crate::http::Error),
            /// The connection did not begin with a valid PROXY header
            /// ([`ProxyProtocol::Required`](crate::ProxyProtocol::Required)).
            ProxyHeader(crate::http::ProxyHeaderError),
        }

        impl CloseReason {
            /// Whether this is unusual enough to log.
            pub fn should_log(self) -> bool {
                match self { $(CloseReason::$name => $unusual,)* CloseReason::Refused(_) | CloseReason::ProxyHeader(_) => true }
            }
        }

        impl fmt::Display for CloseReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(CloseReason::$name => f.write_str($message),)*
                    CloseReason::Refused(error) => write!(f, "refused: {error}"),
                    CloseReason::ProxyHeader(error) => write!(f, "closed: {error}"),
                }
            }
        }
    };
}

reasons! {
    /// No request arrived in time ([`Timeouts::idle`](crate::Timeouts::idle)).
    Idle = false, "closed after waiting for another request";
    /// A handshake was not completed in time ([`Timeouts::handshake`](crate::Timeouts::handshake)).
    HandshakeTimeout = true, "closed because the TLS handshake was not completed in time";
    /// A handshake failed; a separate log entry has the error.
    HandshakeFailed = false, "closed because the TLS handshake failed";
    /// A PROXY header was not complete in time ([`Timeouts::handshake`](crate::Timeouts::handshake)).
    ProxyHeaderTimeout = true, "closed because the PROXY header was not complete in time";
    /// The PROXY protocol is required, and the peer is not in
    /// [`ProxySettings::trusted`](crate::ProxySettings::trusted).
    UntrustedProxy = true, "closed because only trusted proxies may connect with the PROXY protocol, and this address is not one of them";
    /// A head was not complete in time ([`Timeouts::head`](crate::Timeouts::head)).
    HeadTimeout = true, "closed because the head of a request did not arrive in time";
    /// A request body came too slowly ([`Timeouts::minimum_rate`](crate::Timeouts::minimum_rate)).
    BodyTimeout = true, "closed because the body of a request came too slowly";
    /// The client read a response too slowly ([`Timeouts::minimum_rate`](crate::Timeouts::minimum_rate)).
    WriteTimeout = true, "closed because the client reads the response too slowly";
    /// The client closed the connection during an exchange.
    ClientLeft = false, "the client left before the response was complete";
    /// The application failed after the head was sent, or its body was shorter than declared.
    ResponseAborted = true, "aborted because the response could not be completed; the client sees that it is incomplete";
    /// The unread rest of a request body exceeded [`Limits::drain`](crate::Limits::drain).
    Undrained = false, "closed because the application left too much of the request body unread";
    /// The client waited for `100 Continue` before it sent a body, and the application did not read the body
    /// (RFC 9110 §10.1.1).
    NotContinued = false, "closed because the request body was not wanted";
    /// The application wrote a response to the socket itself ([`hijack`](crate::hijack)).
    Hijacked = false, "closed because the application wrote its response to the socket directly";
    /// The server is stopping.
    Shutdown = false, "closed because the server is stopping";
    /// The file table was full (EMFILE, ENFILE), and an idle connection was closed to free a descriptor.
    DescriptorLimit = true, "closed while idle, to free a descriptor in the full file table (ulimit -n sets its size)";
}
