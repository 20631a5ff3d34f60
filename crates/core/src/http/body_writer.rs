//! The framing of a response body: how it ends, and a writer that keeps to it.

use super::chunked::{encode_chunk, LAST_CHUNK};

/// How the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is no body (HEAD, 1xx, 204, 304), whatever the application returns. 205 has [`Length`](Self::Length) 0
    /// instead, since only its framing tells a client that no content follows.
    Empty,
    /// After this number of bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// When the connection closes.
    Close,
}

/// A writer that keeps a body to its framing: it cuts off excess bytes and reports missing ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyWriter {
    framing: ResponseFraming,
    written: u64,
}

impl BodyWriter {
    /// Creates a writer for a body with this framing.
    pub fn new(framing: ResponseFraming) -> BodyWriter {
        BodyWriter { framing, written: 0 }
    }

    /// How many of `offered` bytes may be sent: fewer if they would exceed the Content-Length, none if there is no
    /// body.
    pub fn allowed(&self, offered: u64) -> u64 {
        match self.framing {
            ResponseFraming::Empty => 0,
            ResponseFraming::Length(length) => offered.min(length - self.written),
            ResponseFraming::Chunked | ResponseFraming::Close => offered,
        }
    }

    /// Counts body bytes that were [`allowed`](BodyWriter::allowed) and written without
    /// [`append`](BodyWriter::append).
    pub fn advance(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Appends a block with its framing.
    pub fn append(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let allowed = self.allowed(block.len() as u64) as usize;
        let block = &block[..allowed];
        if self.framing == ResponseFraming::Chunked {
            encode_chunk(block, out);
        } else {
            out.extend_from_slice(block);
        }
        self.advance(allowed as u64);
    }

    /// Ends the body: appends the last chunk if the body is chunked. Returns `false` if bytes are missing: the
    /// connection has to be closed then, so that the client notices.
    pub fn end(&self, out: &mut Vec<u8>) -> bool {
        match self.framing {
            ResponseFraming::Chunked => out.extend_from_slice(LAST_CHUNK),
            ResponseFraming::Length(length) => return self.written == length,
            ResponseFraming::Empty | ResponseFraming::Close => {}
        }
        true
    }

    /// The number of body bytes written so far, without the bytes of the chunked coding.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether the body ends by Content-Length and all of it has been written.
    pub fn is_complete(&self) -> bool {
        matches!(self.framing, ResponseFraming::Length(length) if length == self.written)
    }

    /// How the body ends.
    pub fn framing(&self) -> ResponseFraming {
        self.framing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_keeps_to_its_framing() {
        let run = |framing, blocks: &[&str]| {
            let mut out = Vec::new();
            let mut body = BodyWriter::new(framing);
            for block in blocks {
                body.append(block.as_bytes(), &mut out);
            }
            (body.end(&mut out), String::from_utf8(out).unwrap())
        };
        use ResponseFraming::*;
        assert_eq!(run(Length(4), &["ab", "", "cdef", "g"]), (true, "abcd".into()));
        assert_eq!(run(Length(4), &["ab"]), (false, "ab".into()));
        assert_eq!(run(Chunked, &["ab", "", "c"]), (true, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n".into()));
        assert_eq!(run(Close, &["ab", "c"]), (true, "abc".into()));
        assert_eq!(run(Empty, &["ab", "c"]), (true, "".into()));
    }
}
