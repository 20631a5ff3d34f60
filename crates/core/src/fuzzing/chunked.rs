//! `chunked`: the decoder reads the chunked coding and nothing else, however it arrives.

use super::dice::{place, take};
use super::reference::{self, End};
use super::show;
use crate::http::{BodyWriter, ChunkedDecoder, ChunkedLimits, Error, ResponseFraming};

/// Beyond this a byte-by-byte run costs more than it finds.
const BYTE_BY_BYTE: usize = 2000;

/// The data of a body so far, and how many bytes the whole body took once it is complete.
type Outcome = Result<(Vec<u8>, Option<usize>), Error>;

/// The first five bytes say where to cut and which limits to use, the rest is a body.
///
/// - whole, cut in two places and byte by byte: the same data, the same end or the same error at the same position;
/// - never more data than input, never a byte behind the input;
/// - complete exactly when the reference reads it too and the limits hold, with the same data and end;
/// - what is encoded decodes to what it was.
pub fn chunked(data: &[u8]) {
    let ([option, a, b, c, d], input) = take(data);
    let tiny = ChunkedLimits { extensions: 8, trailers: 12 };
    let limits = if option & 1 == 0 { ChunkedLimits::default() } else { tiny };
    let mut cuts = [place([a, b], input.len()), place([c, d], input.len())];
    cuts.sort_unstable();

    let whole = decode(input, [], limits);
    assert_eq!(decode(input, cuts, limits), whole, "cut at {cuts:?}: {}", show(input));
    if input.len() <= BYTE_BY_BYTE {
        assert_eq!(decode(input, 1..input.len(), limits), whole, "byte by byte: {}", show(input));
    }

    let expected = reference::chunked(input);
    let holds = expected.extensions <= limits.extensions && expected.trailers <= limits.trailers;
    match &whole {
        Ok((body, Some(end))) => {
            assert_eq!((body, End::At(*end)), (&expected.data, expected.end), "{}", show(input));
            assert!(holds, "accepted beyond the limits: {}", show(input));
        }
        Ok((body, None)) => {
            assert!(!matches!(expected.end, End::At(_)), "wants more of what is complete: {}", show(input));
            assert!(body.len() <= input.len());
        }
        Err(error) => {
            assert!(error.position() < input.len(), "{error:?}");
            assert!((400..=599).contains(&error.status()), "{error:?}");
            let complete = matches!(expected.end, End::At(_));
            assert!(!(complete && holds), "refused for nothing ({error:?}): {}", show(input));
        }
    }
    round_trip(input, cuts);
}

/// The input as data, in chunks, as the server writes them.
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
            assert!(step.consumed > 0 && step.consumed <= end - at, "no progress, or too much");
            assert!(step.data.start <= step.data.end && step.data.end <= step.consumed);
            body.extend_from_slice(&input[at..end][step.data]);
            at += step.consumed;
        }
    }
    Ok((body, decoder.is_done().then_some(at)))
}
