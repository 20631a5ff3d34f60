//! `chunked`: the decoder accepts the chunked coding and nothing else, in whatever pieces it arrives.

use super::input::{cut_position, escape, split_prefix};
use super::reference::{self, BodyEnd};
use crate::http::{BodyWriter, ChunkedDecoder, ChunkedLimits, Error, ResponseFraming};

/// The maximum length for which the input is fed byte by byte; longer inputs would take long and rarely find more.
const BYTE_BY_BYTE: usize = 2000;

/// The data of a body so far, and the length of its coding if the body is complete.
type Outcome = Result<(Vec<u8>, Option<usize>), Error>;

/// Decodes a body. The first five bytes of the input choose the limits and place two cuts, the rest is the body.
///
/// - The data and the end, or the error and its position, are the same whether the input arrives whole, cut in two
///   places or byte by byte.
/// - There is never more data than input, and no byte after the input is read.
/// - The body is complete exactly when the reference reads it too and the limits hold, with the same data and end.
/// - Encoded data decodes to the same data.
pub fn chunked(data: &[u8]) {
    let ([option, a, b, c, d], input) = split_prefix(data);
    let tiny = ChunkedLimits { extensions: 8, trailers: 12 };
    let limits = if option & 1 == 0 { ChunkedLimits::default() } else { tiny };
    let mut cuts = [cut_position([a, b], input.len()), cut_position([c, d], input.len())];
    cuts.sort_unstable();

    let whole = decode(input, [], limits);
    assert_eq!(decode(input, cuts, limits), whole, "cut at {cuts:?}: {}", escape(input));
    if input.len() <= BYTE_BY_BYTE {
        assert_eq!(decode(input, 1..input.len(), limits), whole, "byte by byte: {}", escape(input));
    }

    let expected = reference::chunked(input);
    let holds = expected.extensions <= limits.extensions && expected.trailers <= limits.trailers;
    match &whole {
        Ok((body, Some(end))) => {
            assert_eq!((body, BodyEnd::At(*end)), (&expected.data, expected.end), "{}", escape(input));
            assert!(holds, "accepted beyond the limits: {}", escape(input));
        }
        Ok((body, None)) => {
            assert!(!matches!(expected.end, BodyEnd::At(_)), "needs more of a complete body: {}", escape(input));
            assert!(body.len() <= input.len());
        }
        Err(error) => {
            assert!(error.position() < input.len(), "{error:?}");
            assert!((400..=599).contains(&error.status()), "{error:?}");
            let complete = matches!(expected.end, BodyEnd::At(_));
            assert!(!(complete && holds), "a well-formed body is refused ({error:?}): {}", escape(input));
        }
    }
    round_trip(input, cuts);
}

/// Encodes the input as data, in chunks as the server writes them, and decodes it.
fn round_trip(data: &[u8], [first, second]: [usize; 2]) {
    let mut wire = Vec::new();
    let mut writer = BodyWriter::new(ResponseFraming::Chunked);
    for block in [&data[..first], &data[first..second], &data[second..]] {
        writer.append(block, &mut wire);
    }
    assert!(writer.end(&mut wire));
    let end = wire.len();
    wire.extend_from_slice(b"GET /next");
    assert_eq!(decode(&wire, [], ChunkedLimits::default()), Ok((data.to_vec(), Some(end))));
}

fn decode(input: &[u8], cuts: impl IntoIterator<Item = usize>, limits: ChunkedLimits) -> Outcome {
    let mut decoder = ChunkedDecoder::new(limits);
    let (mut body, mut at) = (Vec::new(), 0);
    for end in cuts.into_iter().chain([input.len()]) {
        while at < end && !decoder.is_done() {
            let step = decoder.decode(&input[at..end])?;
            assert!(step.consumed > 0 && step.consumed <= end - at, "no byte was consumed, or more than there are");
            assert!(step.data.start <= step.data.end && step.data.end <= step.consumed);
            body.extend_from_slice(&input[at..end][step.data]);
            at += step.consumed;
        }
    }
    Ok((body, decoder.is_done().then_some(at)))
}
