//! httparse with uninitialised headers, its fastest interface.

use super::contract::Parser;
use super::inputs::digest;
use httparse::{Request, Status};
use std::mem::MaybeUninit;

/// Keeps no state between requests.
pub struct Httparse;

impl Parser for Httparse {
    fn name(&self) -> &'static str {
        "httparse"
    }

    #[inline]
    fn parse(&mut self, buffer: &[u8], filled: usize) -> Option<usize> {
        let mut headers = [const { MaybeUninit::uninit() }; 64];
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(&buffer[..filled], &mut headers) {
            Ok(Status::Complete(_)) => {
                Some(digest(request.method?.as_bytes(), request.path?.as_bytes(), request.headers.len()))
            }
            _ => None,
        }
    }
}
