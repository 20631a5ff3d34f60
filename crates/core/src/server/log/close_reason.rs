//! Why connections end.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $line:literal, $sentence:literal;)*) => {
        /// Why a connection ended otherwise than by both sides being done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
            /// The request was refused, for this reason.
            Refused(crate::http::Error),
        }

        impl CloseReason {
            /// Is it more than everyday life on a network?
            pub fn is_worth_a_line(self) -> bool {
                match self { $(CloseReason::$name => $line,)* CloseReason::Refused(_) => true }
            }
        }

        impl fmt::Display for CloseReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(CloseReason::$name => f.write_str($sentence),)*
                    CloseReason::Refused(error) => write!(f, "refused: {error}"),
                }
            }
        }
    };
}

reasons! {
    /// No request came in time.
    Idle = false, "closed after waiting for another request";
    /// A handshake did not become complete in time.
    HandshakeTimeout = true, "closed because the TLS handshake was not completed in time";
    /// A handshake failed; a line of its own says how.
    HandshakeFailed = false, "closed because the TLS handshake failed";
    /// A head did not become complete in time.
    HeadTimeout = true, "closed because the head of a request did not arrive in time";
    /// A body came too slowly.
    BodyTimeout = true, "closed because the body of a request came too slowly";
    /// An answer was taken too slowly.
    WriteTimeout = true, "closed because the client takes the answer too slowly";
    /// The client left while something was under way.
    ClientLeft = false, "the client left before the answer was complete";
    /// The application failed after the head was sent, or gave less than it had declared.
    CutShort = true, "cut because the answer could not be completed, so that the client can tell";
    /// The body was longer than anybody wants to read to save a connection.
    Undrained = false, "closed because the application left too much of the request body unread";
    /// The client announced a body, waited to be asked for it, and was not asked.
    NotContinued = false, "closed because the request body was not wanted";
    /// The application has answered a request on the socket by itself.
    Hijacked = false, "closed because the application has written to the socket by itself";
    /// The server stops.
    Shutdown = false, "closed because the server stops";
    /// The file table was full.
    Shed = true, "closed while idle, to make room in the full file table";
}
