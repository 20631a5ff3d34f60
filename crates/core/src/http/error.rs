//! Why a message was refused: a kind, a message for people, the status for the client, and the position in the input.

use std::fmt;

/// A request that was refused.
///
/// After an error it is unknown where the next request begins: answer with [`Error::status`] and close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    kind: ErrorKind,
    position: usize,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind, position: usize) -> Error {
        Error { kind, position }
    }

    /// The reason.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The byte offset of the error: from the first byte of the head, or, in a body, of the chunked coding.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The status code for the client (RFC 9110 §15).
    pub fn status(&self) -> u16 {
        self.kind.status()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind.message(), self.position)
    }
}

impl std::error::Error for Error {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $message:literal;)*) => {
        /// The reason why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
        }

        impl ErrorKind {
            /// The status code for the client (RFC 9110 §15).
            pub fn status(self) -> u16 {
                match self { $(ErrorKind::$name => $status,)* }
            }

            /// A message for people, without a capital letter or a full stop.
            pub fn message(self) -> &'static str {
                match self { $(ErrorKind::$name => $message,)* }
            }
        }
    };
}

kinds! {
    /// RFC 9112 §3: a server limits the length of the request line.
    RequestLineTooLong = 414, "the request line is longer than this server accepts";
    /// RFC 6585 §5.
    HeaderSectionTooLarge = 431, "the header section is larger than this server accepts";
    /// RFC 6585 §5.
    TooManyFields = 431, "the header section has more fields than this server accepts";
    /// A field line is longer than [`HeadLimits::field`](super::HeadLimits::field).
    FieldTooLong = 431, "a field of the header section is longer than this server accepts";
    /// RFC 9112 §3.1: a method is a token.
    Method = 400, "the request does not begin with a method and a single space";
    /// RFC 9112 §3.2.
    Target = 400, "the request-target is missing, malformed or contains a character that must be percent-encoded";
    /// RFC 9112 §3.2: this form belongs to another method.
    TargetForm = 400, "the method does not allow this form of request-target";
    /// RFC 9112 §3: three parts with single spaces between them.
    RequestLine = 400, "the request line is not 'method target HTTP/1.1'";
    /// RFC 9110 §15.6.6.
    Version = 505, "this server supports only HTTP/1.0 and HTTP/1.1";
    /// RFC 9112 §2.2: a line ends with CR LF only.
    LineEnd = 400, "a line does not end with CR LF";
    /// RFC 9110 §5.1: a field name is a token.
    FieldName = 400, "a field name is empty or contains a character that is not allowed";
    /// RFC 9112 §5.1: a server must refuse this, since it has deceived proxies.
    SpaceBeforeColon = 400, "there is white space between a field name and its colon";
    /// RFC 9112 §2.2: white space between the request line and the first field.
    LeadingSpace = 400, "the first field line begins with white space";
    /// RFC 9112 §5.2: line folding is obsolete.
    ObsFold = 400, "a field value continues on the next line (obsolete line folding)";
    /// RFC 9110 §5.5: a control character, NUL or bare CR.
    FieldValue = 400, "a field value contains a control character";
    /// RFC 9110 §7.4: an https resource must be requested over a secured connection.
    Misdirected = 421, "an https URI was requested on a connection without TLS";
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
    /// RFC 9112 §6.3: a means of request smuggling.
    LengthAndChunked = 400, "a request can't have both Content-Length and Transfer-Encoding";
    /// RFC 9112 §6.1: HTTP/1.0 has no transfer codings.
    TransferEncodingVersion = 400, "an HTTP/1.0 request can't have a Transfer-Encoding";
    /// RFC 9112 §6.3: chunked has to be the final coding of a request, and to occur once.
    TransferEncodingChunked = 400, "Transfer-Encoding does not end with a single 'chunked'";
    /// RFC 9112 §6.1.
    TransferEncodingUnknown = 501, "this server supports only the transfer coding 'chunked'";
    /// RFC 9110 §10.1.1.
    Expectation = 417, "this server supports only the expectation 100-continue";
    /// RFC 9110 §15.5.14.
    BodyTooLarge = 413, "the body is larger than this server accepts";
    /// RFC 9110 §9.3.6: only a proxy opens a tunnel.
    Connect = 501, "this server is not a proxy and does not support CONNECT";
    /// RFC 9112 §7.1: hexadecimal digits and nothing else.
    ChunkSize = 400, "a chunk does not begin with its size in hexadecimal digits";
    /// RFC 9112 §7.1.
    ChunkSizeOverflow = 400, "the size of a chunk does not fit in 64 bits";
    /// RFC 9112 §7.1.1.
    ChunkExtension = 400, "a chunk extension is not ';name', ';name=token' or ';name=\"quoted string\"'";
    /// RFC 9112 §7.1.1: recipients limit them.
    ChunkExtensionsTooLarge = 400, "the chunk extensions of the body are longer than this server accepts";
    /// RFC 9112 §7.1.
    ChunkEnd = 400, "a chunk is not followed by CR LF";
    /// RFC 9112 §7.1.2.
    Trailer = 400, "the trailer section is malformed";
    /// RFC 9112 §7.1.2.
    TrailerTooLarge = 400, "the trailer section is larger than this server accepts";
}

/// A response head that can't be sent, because the application gave a status or a field that is not allowed.
///
/// The status for the client is 500: the error is the application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseError {
    kind: ResponseErrorKind,
    subject: String,
}

impl ResponseError {
    #[cold]
    pub(super) fn new(kind: ResponseErrorKind, subject: &str) -> ResponseError {
        ResponseError { kind, subject: subject.to_owned() }
    }

    /// The reason.
    pub fn kind(&self) -> ResponseErrorKind {
        self.kind
    }

    /// The text that was refused: the status, the Content-Length, or the name of the field.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match self.kind {
            ResponseErrorKind::Status => {
                write!(f, "the status {subject:?} is not three digits and a phrase, as in \"200 OK\"")
            }
            ResponseErrorKind::InterimStatus => {
                write!(f, "the status {subject:?} is an interim status; give a final one")
            }
            ResponseErrorKind::FieldName => write!(f, "{subject:?} is not a field name: it is not a token"),
            ResponseErrorKind::FieldValue => write!(f, "the value of {subject} contains a control character"),
            ResponseErrorKind::HopByHop => {
                write!(f, "{subject} is a hop-by-hop field, which only the server may set; leave it out")
            }
            ResponseErrorKind::ContentLength => write!(f, "Content-Length {subject:?} is not one decimal number"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// The reason why a response head can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseErrorKind {
    /// The status is not three digits and a phrase, or contains a control character.
    Status,
    /// The status is 1xx other than 101, which is not a final status.
    InterimStatus,
    /// A field name is not a token.
    FieldName,
    /// A field value contains CR, LF, NUL or another control character.
    FieldValue,
    /// A field concerns only the connection, which belongs to the server (RFC 9110 §7.6.1, PEP 3333).
    HopByHop,
    /// Content-Length is not a decimal number, or there is more than one.
    ContentLength,
}
