//! Several ranges of a file as one body: `multipart/byteranges` (RFC 9110 §14.6).

use std::fs::File;
use std::ops::Range;

use amboss_core::{AppError, Body};

use super::read_at::read_exact_at;

/// How many bytes of the file are in memory at once.
const BLOCK: u64 = 64 * 1024;

/// The ranges of a response, with the heads of their parts.
pub(super) struct Multipart {
    parts: Vec<(Vec<u8>, Range<u64>)>,
    end: Vec<u8>,
}

impl Multipart {
    pub fn new(ranges: Vec<Range<u64>>, boundary: &str, content_type: &str, length: u64) -> Multipart {
        let head = |(index, range): (usize, Range<u64>)| {
            let (line_break, first, last) = (if index == 0 { "" } else { "\r\n" }, range.start, range.end - 1);
            let head = format!(
                "{line_break}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
            );
            (head.into_bytes(), range)
        };
        let parts = ranges.into_iter().enumerate().map(head).collect();
        Multipart { parts, end: format!("\r\n--{boundary}--\r\n").into_bytes() }
    }

    /// The length of the body in bytes.
    pub fn length(&self) -> u64 {
        let parts = self.parts.iter().map(|(head, range)| head.len() as u64 + (range.end - range.start));
        parts.sum::<u64>() + self.end.len() as u64
    }

    pub fn into_body(self, file: File) -> Body {
        Body::try_iter(Blocks { file, parts: self.parts.into_iter(), left: 0..0, end: Some(self.end) })
    }
}

/// The blocks of the body.
struct Blocks {
    file: File,
    parts: std::vec::IntoIter<(Vec<u8>, Range<u64>)>,
    /// What is left of the part whose head has been sent.
    left: Range<u64>,
    end: Option<Vec<u8>>,
}

impl Blocks {
    fn read(&mut self) -> Result<Vec<u8>, AppError> {
        let count = BLOCK.min(self.left.end - self.left.start);
        let block = read_exact_at(&mut self.file, self.left.start, count)?;
        self.left.start += count;
        Ok(block)
    }
}

impl Iterator for Blocks {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.left.is_empty() {
            return Some(self.read());
        }
        match self.parts.next() {
            Some((head, range)) => {
                self.left = range;
                Some(Ok(head))
            }
            None => self.end.take().map(Ok),
        }
    }
}
