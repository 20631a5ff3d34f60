//! The subject: the head parser of amboss-core, one object for all requests, as in a connection.

use super::contract::Parser;
use super::inputs::digest;
use amboss_core::http::HeadParser;

/// A parser that is kept between requests, as in a connection.
pub struct Amboss(HeadParser);

impl Amboss {
    /// A parser with default limits.
    pub fn new() -> Self {
        Amboss(HeadParser::new(Default::default()))
    }
}

impl Parser for Amboss {
    fn name(&self) -> &'static str {
        crate::peers::SUBJECT
    }

    #[inline]
    fn parse(&mut self, buffer: &[u8], filled: usize) -> Option<usize> {
        self.0.reset();
        match self.0.parse(buffer, filled) {
            Ok(Some(_)) => {
                let head = self.0.head(buffer);
                Some(digest(head.method(), head.target(), head.field_count()))
            }
            _ => None,
        }
    }
}
