//! `simd`: every kernel gives the same results as the portable kernel, which looks up each byte in a table.

use super::input::escape;
use crate::http::scan::{Backend, Masks, Scalar, BLOCK};
use crate::http::{Error, HeadOptions, HeadParser, Leniency};

/// Compares the portable kernel with every kernel that this processor can run.
///
/// The masks of every 64-byte block at every possible alignment are equal, and so are whole parses.
pub fn simd(data: &[u8]) {
    let table = Backend::Scalar(Scalar);
    let kernels = Backend::all();
    let mut padded = data.to_vec();
    padded.resize(data.len().max(1).next_multiple_of(BLOCK), data.last().copied().unwrap_or(0));
    // All blocks as the parser sees them, and the first blocks at other alignments.
    let alignments = (0..padded.len() - BLOCK).take(BLOCK);
    for start in (0..padded.len()).step_by(BLOCK).chain(alignments) {
        let Some(block) = padded[start..].first_chunk::<BLOCK>() else { continue };
        let expected = table.run(Masks(block));
        for kernel in &kernels {
            assert_eq!(kernel.run(Masks(block)), expected, "{kernel:?}: {}", escape(block));
        }
    }
    for leniency in [Leniency::default(), Leniency::werkzeug()] {
        let options = HeadOptions { leniency, ..HeadOptions::default() };
        let expected = parse(data, options, table);
        for kernel in &kernels {
            assert_eq!(parse(data, options, *kernel), expected, "{kernel:?}: {}", escape(data));
        }
    }
}

type Outcome = Result<Option<(usize, Vec<Vec<u8>>)>, Error>;

fn parse(data: &[u8], options: HeadOptions, kernel: Backend) -> Outcome {
    let mut parser = HeadParser::with_backend(options, kernel);
    let Some(length) = parser.parse(data, data.len())? else { return Ok(None) };
    let head = parser.head(data);
    let fields = head.fields().flat_map(|field| [field.name.to_vec(), field.value.to_vec()]);
    let line = [head.method().to_vec(), head.target().to_vec(), head.version().as_str().into()];
    Ok(Some((length, line.into_iter().chain(fields).collect())))
}
