//! `simd`: every kernel says the same as the table.

use super::show;
use crate::http::scan::scalar::Scalar;
use crate::http::scan::{Choice, Masks, BLOCK};
use crate::http::{Error, HeadOptions, HeadParser, Leniency};

/// Masks of every 64-byte block at every alignment there is room for, and whole parses, with every kernel this
/// processor can run: equal to the table's.
pub fn simd(data: &[u8]) {
    let table = Choice::Scalar(Scalar);
    let kernels = Choice::all();
    let mut padded = data.to_vec();
    padded.resize(data.len().max(1).next_multiple_of(BLOCK), data.last().copied().unwrap_or(0));
    // All blocks as the parser would meet them, and the first ones at other alignments.
    let alignments = (0..padded.len() - BLOCK).take(BLOCK);
    for start in (0..padded.len()).step_by(BLOCK).chain(alignments) {
        let Some(block) = padded[start..].first_chunk::<BLOCK>() else { continue };
        let expected = table.run(Masks(block));
        for kernel in &kernels {
            assert_eq!(kernel.run(Masks(block)), expected, "{kernel:?}: {}", show(block));
        }
    }
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        let options = HeadOptions { leniency, ..HeadOptions::default() };
        let expected = parse(data, options, table);
        for kernel in &kernels {
            assert_eq!(parse(data, options, *kernel), expected, "{kernel:?}: {}", show(data));
        }
    }
}

type Outcome = Result<Option<(usize, Vec<Vec<u8>>)>, Error>;

fn parse(data: &[u8], options: HeadOptions, kernel: Choice) -> Outcome {
    let mut parser = HeadParser::with_kernel(options, kernel);
    let Some(length) = parser.parse(data, data.len())? else { return Ok(None) };
    let head = parser.head(data);
    let fields = head.fields().flat_map(|field| [field.name.to_vec(), field.value.to_vec()]);
    let line = [head.method().to_vec(), head.target().to_vec(), head.version().as_str().into()];
    Ok(Some((length, line.into_iter().chain(fields).collect())))
}
