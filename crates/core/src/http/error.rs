//! Why a message was refused: a kind, a sentence for people, the status for the client, and the place in the input.

use std::fmt;

/// A message that can't be accepted.
///
/// After any of these the framing of the connection is in doubt: answer with [`Error::status`] and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    kind: ErrorKind,
    position: usize,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind, position: usize) -> Error {
        Error { kind, position }
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it stands: a byte offset, in a head from its first byte, in a body from the first byte of the chunked
    /// coding.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The status code the client deserves (RFC 9110 §15).
    pub fn status(&self) -> u16 {
        self.kind.status()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind.sentence(), self.position)
    }
}

impl std::error::Error for Error {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $sentence:literal;)*) => {
        /// What is wrong with a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
        }

        impl ErrorKind {
            /// The status code the client deserves.
            pub fn status(self) -> u16 {
                match self { $(ErrorKind::$name => $status,)* }
            }

            /// One sentence for people.
            pub fn sentence(self) -> &'static str {
                match self { $(ErrorKind::$name => $sentence,)* }
            }
        }
    };
}

kinds! {
    /// RFC 9112 §3: no room for a request-target this long.
    RequestLineTooLong = 414, "the request line is longer than this server accepts";
    /// RFC 6585 §5.
    HeaderSectionTooLarge = 431, "the header section is larger than this server accepts";
    /// RFC 6585 §5.
    TooManyFields = 431, "the header section has more fields than this server accepts";
    /// RFC 9112 §3.1: a method is a token.
    Method = 400, "the request does not begin with a method and a single space";
    /// RFC 9112 §3.2.
    Target = 400, "the request-target is missing, malformed or holds a character that must be percent-encoded";
    /// RFC 9112 §3.2: this form belongs to another method.
    TargetForm = 400, "this form of request-target does not go with this method";
    /// RFC 9112 §3: three parts with single spaces between them.
    RequestLine = 400, "the request line is not 'method target HTTP/1.1'";
    /// RFC 9110 §15.6.6.
    Version = 505, "only HTTP/1.0 and HTTP/1.1 are spoken here";
    /// RFC 9112 §2.2: a line ends with CR LF and with nothing else.
    LineEnd = 400, "a line does not end with CR LF";
    /// RFC 9110 §5.1: a field name is a token.
    FieldName = 400, "a field name is empty or holds a character that is not allowed";
    /// RFC 9112 §5.1: servers must refuse this, proxies have been fooled by it.
    SpaceBeforeColon = 400, "there is white space between a field name and its colon";
    /// RFC 9112 §2.2: white space between the request line and the first field.
    LeadingSpace = 400, "the first field line begins with white space";
    /// RFC 9112 §5.2: line folding is obsolete.
    ObsFold = 400, "a field value is continued on the next line (obsolete line folding)";
    /// RFC 9110 §5.5: a control character, NUL or bare CR.
    FieldValue = 400, "a field value holds a control character";
    /// RFC 9110 §7.4: an https resource is for connections that are secured.
    Misdirected = 421, "an https URI was asked for on a connection without TLS";
    /// RFC 9112 §3.2.
    HostMissing = 400, "an HTTP/1.1 request needs a Host field";
    /// RFC 9112 §3.2.
    HostRepeated = 400, "there is more than one Host field";
    /// RFC 9110 §7.2: uri-host and an optional port.
    HostMalformed = 400, "the Host field is not a host with an optional port";
    /// RFC 9110 §8.3: one media type; two recipients may pick different ones.
    ContentTypeRepeated = 400, "there is more than one Content-Type field";
    /// RFC 9110 §8.6: decimal digits, once.
    ContentLength = 400, "Content-Length is not one decimal number of at most 64 bits";
    /// RFC 9112 §6.3: how requests are smuggled.
    LengthAndChunked = 400, "Content-Length and Transfer-Encoding exclude each other";
    /// RFC 9112 §6.1: HTTP/1.0 has no transfer codings.
    TransferEncodingVersion = 400, "an HTTP/1.0 request can't have a Transfer-Encoding";
    /// RFC 9112 §6.3: chunked has to be the final coding of a request, and to be there once.
    TransferEncodingChunked = 400, "Transfer-Encoding does not end with a single 'chunked'";
    /// RFC 9112 §6.1.
    TransferEncodingUnknown = 501, "chunked is the only transfer coding understood here";
    /// RFC 9110 §10.1.1.
    Expectation = 417, "the only expectation understood here is 100-continue";
    /// RFC 9110 §15.5.14.
    BodyTooLarge = 413, "the body is larger than this server accepts";
    /// RFC 9110 §9.3.6: a tunnel is a proxy's business.
    Connect = 501, "this server is no proxy and opens no tunnels";
    /// RFC 9112 §7.1: hexadecimal digits and nothing else.
    ChunkSize = 400, "a chunk does not begin with its size in hexadecimal digits";
    /// RFC 9112 §7.1.
    ChunkSizeOverflow = 400, "a chunk's size does not fit in 64 bits";
    /// RFC 9112 §7.1.1.
    ChunkExtension = 400, "a chunk extension is not ';name', ';name=token' or ';name=\"quoted string\"'";
    /// RFC 9112 §7.1.1: recipients limit them.
    ChunkExtensionsTooLarge = 400, "the chunk extensions of this body are longer than this server accepts";
    /// RFC 9112 §7.1.
    ChunkEnd = 400, "a chunk is not followed by CR LF";
    /// RFC 9112 §7.1.2.
    Trailer = 400, "the trailer section is malformed";
    /// RFC 9112 §7.1.2.
    TrailerTooLarge = 400, "the trailer section is larger than this server accepts";
}
