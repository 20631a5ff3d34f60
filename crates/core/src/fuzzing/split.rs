//! `split`: it makes no difference how the network cuts a head into pieces.

use super::dice::{place, take};
use super::show;
use crate::http::{Error, HeadLimits, HeadOptions, HeadParser, Leniency};

/// Beyond this a byte-by-byte run costs more than it finds.
const BYTE_BY_BYTE: usize = 600;
/// Up to this, every single cut is tried.
const EVERY_CUT: usize = 80;

/// What came of a head: its length, method, target, version and fields.
type Outcome = Result<Option<(usize, Vec<Vec<u8>>)>, Error>;

/// The first four bytes say where to cut, the rest is the head.
///
/// Whole, cut in two places, byte by byte (short inputs) and cut at every single place (very short ones), with strict
/// and Werkzeug's rules, with default and tiny limits, at the end of a buffer and inside a larger one: always the same
/// length, the same message or the same error at the same position.
pub fn split(data: &[u8]) {
    let ([a, b, c, d], input) = take(data);
    let mut cuts = [place([a, b], input.len()), place([c, d], input.len())];
    cuts.sort_unstable();

    let tiny = HeadLimits { request_line: 24, header_section: 40, fields: 2 };
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        for limits in [HeadLimits::default(), tiny] {
            let options = HeadOptions { limits, leniency };
            let whole = parse(input, [], options);
            let same = |outcome: Outcome, how: &dyn std::fmt::Debug| {
                assert_eq!(outcome, whole, "cut at {how:?}, {options:?}: {}", show(input));
            };
            same(parse(input, cuts, options), &cuts);
            if input.len() <= BYTE_BY_BYTE {
                same(parse(input, 0..input.len(), options), &"every byte");
            }
            if input.len() <= EVERY_CUT {
                for cut in 0..input.len() {
                    same(parse(input, [cut], options), &cut);
                }
            }
        }
    }
}

fn parse(input: &[u8], cuts: impl IntoIterator<Item = usize>, options: HeadOptions) -> Outcome {
    let mut exact = HeadParser::new(options);
    let mut within = HeadParser::new(options);
    for cut in cuts.into_iter().chain([input.len()]) {
        let step = exact.parse(&input[..cut], cut);
        // What lies behind `filled` must not matter, and here it is the rest of the message.
        assert_eq!(within.parse(input, cut), step, "bytes behind the filled part matter: {}", show(input));
        let Some(length) = step? else { continue };
        let head = exact.head(input);
        let mut parts = vec![head.method().to_vec(), head.target().to_vec(), head.version().as_str().into()];
        for field in head.fields() {
            parts.extend([field.name.to_vec(), field.value.to_vec()]);
        }
        return Ok(Some((length, parts)));
    }
    Ok(None)
}
