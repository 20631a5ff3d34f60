//! `split`: the result does not depend on how the network cuts a head into pieces.

use super::input::{cut_position, escape, split_prefix};
use crate::http::{Error, HeadLimits, HeadOptions, HeadParser, Leniency};

/// The maximum length for which the input is fed byte by byte; longer inputs would take long and rarely find more.
const BYTE_BY_BYTE: usize = 600;
/// The maximum length for which every single cut is tried.
const EVERY_CUT: usize = 80;

/// The result of a parse: the length of the head, and its method, target, version and fields.
type Outcome = Result<Option<(usize, Vec<Vec<u8>>)>, Error>;

/// Parses a head in different pieces and compares the results. The first four bytes of the input place two cuts, the
/// rest is the head.
///
/// The length and the message, or the error and its position, are the same whether the input is
/// - whole, cut in two places, cut into bytes (short inputs), or cut at any single position (very short ones);
/// - at the end of a buffer, or inside a larger one.
///
/// Both hold with strict rules and with Werkzeug's, with default and with tiny limits.
pub fn split(data: &[u8]) {
    let ([a, b, c, d], input) = split_prefix(data);
    let mut cuts = [cut_position([a, b], input.len()), cut_position([c, d], input.len())];
    cuts.sort_unstable();

    let tiny = HeadLimits { request_line: 24, header_section: 40, fields: 2, field: 20 };
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        for limits in [HeadLimits::default(), tiny] {
            let options = HeadOptions { limits, leniency };
            let whole = parse(input, [], options);
            let check = |outcome: Outcome, how: &dyn std::fmt::Debug| {
                assert_eq!(outcome, whole, "cut at {how:?}, {options:?}: {}", escape(input));
            };
            check(parse(input, cuts, options), &cuts);
            if input.len() <= BYTE_BY_BYTE {
                check(parse(input, 0..input.len(), options), &"every byte");
            }
            if input.len() <= EVERY_CUT {
                for cut in 0..input.len() {
                    check(parse(input, [cut], options), &cut);
                }
            }
        }
    }
}

fn parse(input: &[u8], cuts: impl IntoIterator<Item = usize>, options: HeadOptions) -> Outcome {
    let mut exact = HeadParser::new(options);
    let mut in_larger = HeadParser::new(options);
    for cut in cuts.into_iter().chain([input.len()]) {
        let step = exact.parse(&input[..cut], cut);
        // The bytes after `filled` must not matter; here they are the rest of the message.
        assert_eq!(in_larger.parse(input, cut), step, "bytes after the filled part matter: {}", escape(input));
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
