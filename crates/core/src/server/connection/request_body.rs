//! The progress of reading the body of a request.

use std::ops::Range;

use crate::http::{BodyLength, ChunkedDecoder, Framing};
use crate::server::settings::Settings;
use crate::wsgi::{InputError, InputErrorKind};

/// The progress of reading a body. It outlives the application call, because the part that the application has not read
/// has to be drained.
#[derive(Debug)]
pub(super) struct RequestBody {
    framing: BodyFraming,
    declared: Option<u64>,
    pub(super) received: u64,
    limit: Option<u64>,
    /// How long the application has waited for the client, in milliseconds.
    pub(super) waited: u64,
    /// Whether the client waits for `100 Continue`.
    pub(super) continue_pending: bool,
    pub(super) failed: Option<InputError>,
}

#[derive(Debug)]
enum BodyFraming {
    /// The number of bytes that are still to come.
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
}

impl RequestBody {
    /// The body that follows a head; at most `limit` bytes are accepted.
    #[inline]
    pub(super) fn new(framing: &Framing, settings: &Settings, limit: Option<u64>) -> RequestBody {
        let (body_framing, declared) = match framing.body {
            BodyLength::Known(length) => (BodyFraming::Length(length), Some(length)),
            BodyLength::Chunked => (BodyFraming::Chunked(Box::new(ChunkedDecoder::new(settings.limits.chunked))), None),
        };
        RequestBody {
            framing: body_framing,
            declared,
            limit,
            continue_pending: framing.expects_continue,
            ..RequestBody::finished()
        }
    }

    /// A body that has been read to its end.
    #[inline]
    pub(super) fn finished() -> RequestBody {
        RequestBody {
            framing: BodyFraming::Length(0),
            declared: None,
            received: 0,
            limit: None,
            waited: 0,
            continue_pending: false,
            failed: None,
        }
    }

    /// The length that the head declares; `None` for a chunked body.
    pub(super) fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Returns how much is still to come.
    pub(super) fn left(&self) -> BodyLength {
        match &self.framing {
            BodyFraming::Length(left) => BodyLength::Known(*left),
            BodyFraming::Chunked(_) => BodyLength::Chunked,
        }
    }

    /// Counts bytes of a body of known length that were read without this decoder.
    pub(super) fn skip(&mut self, count: usize) {
        if let BodyFraming::Length(left) = &mut self.framing {
            *left = left.saturating_sub(count as u64);
        }
        self.received += count as u64;
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        match &self.framing {
            BodyFraming::Length(left) => *left == 0,
            BodyFraming::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Whether the connection can be reused after the rest of the body has been discarded. A known rest may have at
    /// most `limit` bytes; a chunked one is limited while it is drained.
    #[inline]
    pub(super) fn is_drainable(&self, limit: u64) -> bool {
        match &self.framing {
            _ if self.failed.is_some() => false,
            BodyFraming::Length(0) => true,
            // It is unknown whether the client will still send the body.
            _ if self.continue_pending => false,
            BodyFraming::Length(left) => *left <= limit,
            BodyFraming::Chunked(_) => true,
        }
    }

    /// Decodes bytes of the body from the front of `input`. Returns how many bytes were consumed, and the range of the
    /// data among them.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Range<usize>), InputError> {
        let (used, data) = match &mut self.framing {
            BodyFraming::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                (count, 0..count)
            }
            BodyFraming::Chunked(decoder) => {
                let step = decoder.decode(input).map_err(InputErrorKind::Malformed)?;
                (step.consumed, step.data)
            }
        };
        self.received += data.len() as u64;
        // A chunk that announces too many bytes is refused before they arrive.
        let announced = match &self.framing {
            BodyFraming::Length(_) => 0,
            BodyFraming::Chunked(decoder) => decoder.left_of_chunk(),
        };
        match self.limit {
            Some(limit) if self.received.saturating_add(announced) > limit => {
                Err(InputErrorKind::TooLarge(limit).into())
            }
            _ => Ok((used, data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(body: BodyLength) -> Framing {
        Framing { body, keep_alive: true, expects_continue: false, upgrade: false }
    }

    #[test]
    fn a_body_of_known_length_ends_after_its_bytes_and_leaves_the_rest() {
        let mut body = RequestBody::new(&framing(BodyLength::Known(5)), &Settings::default(), None);
        assert_eq!(body.take(b"abc").unwrap(), (3, 0..3));
        assert!(!body.is_done());
        assert_eq!(body.take(b"deGET /").unwrap(), (2, 0..2));
        assert!(body.is_done());
    }

    #[test]
    fn a_limit_counts_what_a_chunk_announces() {
        let mut body = RequestBody::new(&framing(BodyLength::Chunked), &Settings::default(), Some(10));
        assert_eq!(body.take(b"ff\r\n").unwrap_err(), InputErrorKind::TooLarge(10).into());
    }

    #[test]
    fn a_body_is_drainable_if_the_rest_is_within_the_limit() {
        let settings = Settings::default();
        for (left, limit, expected) in [(0, 0, true), (10, 10, true), (11, 10, false)] {
            let body = RequestBody::new(&framing(BodyLength::Known(left)), &settings, None);
            assert_eq!(body.is_drainable(limit), expected, "{left} of at most {limit}");
        }
    }
}
