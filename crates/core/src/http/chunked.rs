//! The chunked transfer coding (RFC 9112 §7.1): a strict decoder, and the encoder.
//!
//! ```text
//! chunked-body = *chunk last-chunk trailer-section CRLF
//! chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
//! chunk-size   = 1*HEXDIG
//! last-chunk   = 1*("0") [ chunk-ext ] CRLF
//! chunk-ext    = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
//! ```
//!
//! Extensions and trailer fields are checked and dropped; trailer fields are never merged into the header section
//! (RFC 9110 §6.5.1). White space after a size or an extension is accepted only in front of another extension.

use std::ops::Range;

use super::error::{Error, ErrorKind};
use super::syntax::{is_tchar, is_value_byte};

/// Limits on the parts of a chunked body that are not data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkedLimits {
    /// The maximum length of all chunk extensions of one body together, in bytes. Default: 4 KiB, since extensions are
    /// rarely used. Without a limit, a client could keep a server busy without sending any data. Leading zeros of chunk
    /// sizes count as well.
    pub extensions: usize,
    /// The maximum length of the trailer section in bytes. Default: 8 KiB, enough for signatures and digests.
    pub trailers: usize,
}

impl Default for ChunkedLimits {
    fn default() -> ChunkedLimits {
        ChunkedLimits { extensions: 4 * 1024, trailers: 8 * 1024 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    /// In the white space after a size: an extension has to follow.
    SizeSpace,
    /// After the `;` of an extension: white space, then its name.
    ExtensionStart,
    ExtensionName,
    /// In the white space after the name of an extension: `=` or another extension has to follow.
    ExtensionNameSpace,
    /// After `=`: white space, then a token or a quoted string.
    ExtensionValueStart,
    ExtensionToken,
    ExtensionQuoted,
    /// After a backslash in a quoted string.
    ExtensionEscape,
    /// After the closing quote.
    ExtensionQuotedEnd,
    /// In the white space after the value of an extension: another extension has to follow.
    ExtensionSpace,
    /// Before the LF that ends the line of a size.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// Before the LF that ends the body.
    EndLf,
    Done,
}

/// A resumable decoder of one chunked body.
///
/// ```
/// use amboss_core::http::{ChunkedDecoder, ChunkedLimits};
///
/// let mut decoder = ChunkedDecoder::new(ChunkedLimits::default());
/// let mut input = &b"5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\n\r\nGET /next"[..];
/// let mut body = Vec::new();
/// while !decoder.is_done() {
///     let step = decoder.decode(input).unwrap();
///     body.extend_from_slice(&input[step.data.clone()]);
///     input = &input[step.consumed..];
/// }
/// assert_eq!(body, b"hello, world");
/// assert_eq!(input, b"GET /next");
/// ```
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    limits: ChunkedLimits,
    /// The remaining bytes of the chunk that is being read, or the size that is being read.
    size: u64,
    /// The length of the extensions so far.
    extensions: usize,
    /// The length of the trailer section so far.
    trailers: usize,
    /// The bytes consumed so far, for the positions of errors.
    position: usize,
}

/// The result of one call of [`ChunkedDecoder::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The number of input bytes that were consumed, those of `data` included.
    pub consumed: usize,
    /// The range of the input that is body data; it may be empty.
    pub data: Range<usize>,
}

impl ChunkedDecoder {
    /// Creates a decoder at the start of a body.
    pub fn new(limits: ChunkedLimits) -> ChunkedDecoder {
        ChunkedDecoder { state: State::SizeStart, limits, size: 0, extensions: 0, trailers: 0, position: 0 }
    }

    /// Whether the body has been read to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The number of bytes that remain of the chunk whose data is being read.
    pub(crate) fn left_of_chunk(&self) -> u64 {
        if self.state == State::Data {
            self.size
        } else {
            0
        }
    }

    /// Reads up to the end of the next piece of body data, of the body, or of the input, whichever comes first.
    ///
    /// Call it again with the input that follows the consumed bytes.
    ///
    /// # Errors
    /// For input that is not the chunked coding, or is beyond the limits. The decoder stays at the position of the
    /// error.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Error> {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Data {
                let there = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len() - at);
                self.size -= there as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                self.position += there;
                return Ok(Decoded { consumed: at + there, data: at..at + there });
            }
            if self.state == State::Done {
                break;
            }
            self.step(input[at]).map_err(|kind| Error::new(kind, self.position))?;
            self.position += 1;
            at += 1;
        }
        Ok(Decoded { consumed: at, data: at..at })
    }

    fn step(&mut self, byte: u8) -> Result<(), ErrorKind> {
        self.state = match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.state == State::Size && self.size == 0 {
                    // A leading zero has no meaning, so it counts towards the same limit as extensions.
                    self.count_extension()?;
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.size = self
                    .size
                    .checked_mul(16)
                    .map(|size| size | u64::from(digit))
                    .ok_or(ErrorKind::ChunkSizeOverflow)?;
                State::Size
            }
            (State::Size, b'\r') => State::SizeLf,
            (State::Size, b' ' | b'\t') => {
                self.count_extension()?;
                State::SizeSpace
            }
            (State::Size, b';') => {
                self.count_extension()?;
                State::ExtensionStart
            }
            (State::SizeStart | State::Size, _) => return Err(ErrorKind::ChunkSize),

            (State::SizeSpace, b' ' | b'\t') => {
                self.count_extension()?;
                State::SizeSpace
            }
            (State::SizeSpace, b';') => {
                self.count_extension()?;
                State::ExtensionStart
            }
            (State::SizeSpace, _) => return Err(ErrorKind::ChunkSize),

            (State::ExtensionName | State::ExtensionToken | State::ExtensionQuotedEnd, b'\r') => State::SizeLf,
            (
                State::ExtensionStart
                | State::ExtensionName
                | State::ExtensionNameSpace
                | State::ExtensionValueStart
                | State::ExtensionToken
                | State::ExtensionQuoted
                | State::ExtensionEscape
                | State::ExtensionQuotedEnd
                | State::ExtensionSpace,
                _,
            ) => {
                let next = self.extension(byte).ok_or(ErrorKind::ChunkExtension)?;
                self.count_extension()?;
                next
            }

            (State::SizeLf, b'\n') if self.size == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Data,
            (State::SizeLf, _) => return Err(ErrorKind::ChunkSize),

            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::DataCr | State::DataLf, _) => return Err(ErrorKind::ChunkEnd),

            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) if is_tchar(byte) => {
                self.count_trailer()?;
                State::TrailerName
            }
            (State::TrailerName, b':') => {
                self.count_trailer()?;
                State::TrailerValue
            }
            (State::TrailerStart | State::TrailerName, _) => return Err(ErrorKind::Trailer),
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if is_value_byte(byte) => {
                self.count_trailer()?;
                State::TrailerValue
            }
            (State::TrailerValue, _) => return Err(ErrorKind::Trailer),
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailerLf, _) => return Err(ErrorKind::Trailer),

            (State::EndLf, b'\n') => State::Done,
            (State::EndLf, _) => return Err(ErrorKind::Trailer),

            (State::Data | State::Done, _) => unreachable!("decode() does not step here"),
        };
        Ok(())
    }

    /// The state after a byte of an extension (RFC 9112 §7.1.1; RFC 9110 §5.6.4 for quoted strings); `None` for a byte
    /// that is not allowed in this state.
    fn extension(&self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::ExtensionStart | State::ExtensionValueStart, b' ' | b'\t') => self.state,
            (State::ExtensionStart | State::ExtensionName, _) if is_tchar(byte) => State::ExtensionName,
            (State::ExtensionName | State::ExtensionNameSpace, b' ' | b'\t') => State::ExtensionNameSpace,
            (State::ExtensionName | State::ExtensionNameSpace, b'=') => State::ExtensionValueStart,
            (State::ExtensionName | State::ExtensionNameSpace, b';') => State::ExtensionStart,

            (State::ExtensionValueStart, b'"') => State::ExtensionQuoted,
            (State::ExtensionValueStart | State::ExtensionToken, _) if is_tchar(byte) => State::ExtensionToken,
            (State::ExtensionQuoted, b'"') => State::ExtensionQuotedEnd,
            (State::ExtensionQuoted, b'\\') => State::ExtensionEscape,
            (State::ExtensionQuoted | State::ExtensionEscape, _) if is_value_byte(byte) => State::ExtensionQuoted,
            (State::ExtensionToken | State::ExtensionQuotedEnd | State::ExtensionSpace, b' ' | b'\t') => {
                State::ExtensionSpace
            }
            (State::ExtensionToken | State::ExtensionQuotedEnd | State::ExtensionSpace, b';') => State::ExtensionStart,
            _ => return None,
        })
    }

    fn count_extension(&mut self) -> Result<(), ErrorKind> {
        self.extensions += 1;
        if self.extensions > self.limits.extensions {
            return Err(ErrorKind::ChunkExtensionsTooLarge);
        }
        Ok(())
    }

    fn count_trailer(&mut self) -> Result<(), ErrorKind> {
        self.trailers += 1;
        if self.trailers > self.limits.trailers {
            return Err(ErrorKind::TrailerTooLarge);
        }
        Ok(())
    }
}

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends `data` as one chunk. Appends nothing for empty data, since an empty chunk would end the body.
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    encode_chunk_size(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line that begins a chunk of `size` bytes; the data and CR LF have to follow.
pub fn encode_chunk_size(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[size >> (4 * place) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes input that arrives in pieces of `piece` bytes: the body, and the number of input bytes that remain.
    fn decode(input: &[u8], piece: usize, limits: ChunkedLimits) -> Result<Option<(Vec<u8>, usize)>, Error> {
        let mut decoder = ChunkedDecoder::new(limits);
        let (mut body, mut at, mut end) = (Vec::new(), 0, 0);
        while !decoder.is_done() {
            if at == end {
                if end == input.len() {
                    return Ok(None);
                }
                end = input.len().min(end + piece);
            }
            let step = decoder.decode(&input[at..end])?;
            body.extend_from_slice(&input[at..end][step.data.clone()]);
            at += step.consumed;
        }
        Ok(Some((body, input.len() - at)))
    }

    #[test]
    fn only_the_coding_of_rfc_9112_is_accepted_wherever_the_input_is_cut() {
        use ErrorKind::*;
        let done = |body: &str, left| Ok(Some((body.as_bytes().to_vec(), left)));
        let long = |what: &str| format!("1{what}\r\na\r\n0\r\n\r\n");
        let cases = [
            ("0\r\n\r\n".to_owned(), done("", 0)),
            ("000\r\n\r\nX".into(), done("", 1)),
            ("3\r\nabc\r\n0\r\n\r\n".into(), done("abc", 0)),
            ("00A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n".into(), done("01234567890123456789", 0)),
            ("3;a=b;c=\"d;e\"\r\nabc\r\n0;last\r\n\r\n".into(), done("abc", 0)),
            ("3 ;a\r\nabc\r\n0\r\n\r\n".into(), done("abc", 0)),
            ("0\r\nD: x\r\nA:\r\n\r\n".into(), done("", 0)),
            ("3\r\nab".into(), Ok(None)),
            ("\r\n".into(), Err((ChunkSize, 0))),
            ("+3\r\nabc\r\n".into(), Err((ChunkSize, 0))),
            ("-3\r\nabc\r\n".into(), Err((ChunkSize, 0))),
            (" 3\r\nabc\r\n".into(), Err((ChunkSize, 0))),
            ("0x3\r\nabc\r\n".into(), Err((ChunkSize, 1))),
            ("3_0\r\nabc\r\n".into(), Err((ChunkSize, 1))),
            ("3 \r\nabc\r\n".into(), Err((ChunkSize, 2))),
            ("3\nabc\r\n".into(), Err((ChunkSize, 1))),
            ("3\rabc\r\n".into(), Err((ChunkSize, 2))),
            ("3;a\nabc\r\n".into(), Err((ChunkExtension, 3))),
            ("3;a\rb\r\nabc\r\n".into(), Err((ChunkSize, 4))),
            ("3;a\0\r\nabc\r\n".into(), Err((ChunkExtension, 3))),
            // RFC 9112 §7.1.1: a name, and a value where there is "=".
            ("3;\r\nabc\r\n".into(), Err((ChunkExtension, 2))),
            ("3; \r\nabc\r\n".into(), Err((ChunkExtension, 3))),
            ("3;a=\r\nabc\r\n".into(), Err((ChunkExtension, 4))),
            ("3;a= \r\nabc\r\n".into(), Err((ChunkExtension, 5))),
            ("3;=b\r\nabc\r\n".into(), Err((ChunkExtension, 2))),
            ("3;;a\r\nabc\r\n".into(), Err((ChunkExtension, 2))),
            ("3;a b\r\nabc\r\n".into(), Err((ChunkExtension, 4))),
            ("3;a \r\nabc\r\n".into(), Err((ChunkExtension, 4))),
            ("3;a=b \r\nabc\r\n".into(), Err((ChunkExtension, 6))),
            ("3;a=b=c\r\nabc\r\n".into(), Err((ChunkExtension, 5))),
            ("3;a=b,c\r\nabc\r\n".into(), Err((ChunkExtension, 5))),
            ("3;a=\"b\r\nabc\r\n".into(), Err((ChunkExtension, 6))),
            ("3;a=\"b\"c\r\nabc\r\n".into(), Err((ChunkExtension, 7))),
            ("3;a=\"\\\0\"\r\nabc\r\n".into(), Err((ChunkExtension, 6))),
            ("3;\"a\"\r\nabc\r\n".into(), Err((ChunkExtension, 2))),
            ("3;\u{e4}\r\nabc\r\n".into(), Err((ChunkExtension, 2))),
            ("3;a=\"\"\r\nabc\r\n0\r\n\r\n".into(), done("abc", 0)),
            ("3;a=\"\\\"\u{e4}\t\\\\\"\r\nabc\r\n0\r\n\r\n".into(), done("abc", 0)),
            ("3 ; a = b\t;c\r\nabc\r\n0\r\n\r\n".into(), done("abc", 0)),
            ("3\r\nabcd\r\n".into(), Err((ChunkEnd, 6))),
            ("3\r\nabc\n0\r\n\r\n".into(), Err((ChunkEnd, 6))),
            ("3\r\nabc\rX".into(), Err((ChunkEnd, 7))),
            ("ffffffffffffffff\r\nabc".into(), Ok(None)),
            ("10000000000000000\r\nabc".into(), Err((ChunkSizeOverflow, 16))),
            (format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(20)), done("a", 0)),
            (format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(21)), Err((ChunkExtensionsTooLarge, 21))),
            ("0\r\nbad name: x\r\n\r\n".into(), Err((Trailer, 6))),
            ("0\r\n: x\r\n\r\n".into(), Err((Trailer, 3))),
            ("0\r\n folded\r\n\r\n".into(), Err((Trailer, 3))),
            ("0\r\na: x\0\r\n\r\n".into(), Err((Trailer, 7))),
            ("0\r\na: x\n\r\n".into(), Err((Trailer, 7))),
            ("0\r\na: x\ry".into(), Err((Trailer, 8))),
            ("0\r\n\rX".into(), Err((Trailer, 4))),
            (long(&format!(";{}", "x".repeat(19))), done("a", 0)),
            (long(&format!(";{}", "x".repeat(20))), Err((ChunkExtensionsTooLarge, 21))),
            (format!("0\r\na:{}\r\n\r\n", "x".repeat(8)), done("", 0)),
            (format!("0\r\na:{}\r\n\r\n", "x".repeat(9)), Err((TrailerTooLarge, 13))),
        ];
        let limits = ChunkedLimits { extensions: 20, trailers: 10 };
        for (input, expected) in &cases {
            for piece in [1, 2, 3, 7, usize::MAX / 2] {
                let seen = decode(input.as_bytes(), piece, limits).map_err(|error| (error.kind(), error.position()));
                assert_eq!(&seen, expected, "{input:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn encoded_data_decodes_to_the_same_data() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 70_000] {
            let data = vec![b'x'; size];
            let mut wire = Vec::new();
            encode_chunk(&data, &mut wire);
            encode_chunk(b"", &mut wire);
            assert!(wire.starts_with(format!("{size:x}\r\n").as_bytes()));
            wire.extend_from_slice(LAST_CHUNK);
            assert_eq!(decode(&wire, usize::MAX / 2, ChunkedLimits::default()), Ok(Some((data, 0))));
        }
        let mut zero = Vec::new();
        encode_chunk_size(0, &mut zero);
        assert_eq!(zero, b"0\r\n");
    }
}
