//! picohttpparser, the C parser. The build script compiles it with `-O3 -mavx2` and renames its functions.

use super::contract::Parser;
use super::inputs::digest;
use picohttpparser_sys::phr_header;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

#[allow(unsafe_code)]
extern "C" {
    fn fast_phr_parse_request(
        buffer: *const c_char,
        length: usize,
        method: *mut *const c_char,
        method_length: *mut usize,
        path: *mut *const c_char,
        path_length: *mut usize,
        minor_version: *mut c_int,
        headers: *mut phr_header,
        header_count: *mut usize,
        last_length: usize,
    ) -> c_int;
}

/// Keeps no state between requests.
pub struct Picohttpparser;

impl Parser for Picohttpparser {
    fn name(&self) -> &'static str {
        "picohttpparser"
    }

    #[inline]
    #[allow(unsafe_code)]
    fn parse(&mut self, buffer: &[u8], filled: usize) -> Option<usize> {
        let buffer = &buffer[..filled];
        let mut headers = [const { MaybeUninit::<phr_header>::uninit() }; 64];
        let mut count = headers.len();
        let (mut method, mut method_length) = (ptr::null(), 0);
        let (mut path, mut path_length) = (ptr::null(), 0);
        let mut minor_version = 0;
        // SAFETY: the buffer is readable for its length, the headers are writable for `count`, and the other pointers
        // are to local variables. On success, the method and the path are inside the buffer.
        let (parsed, method, path) = unsafe {
            let parsed = fast_phr_parse_request(
                buffer.as_ptr().cast(),
                buffer.len(),
                &mut method,
                &mut method_length,
                &mut path,
                &mut path_length,
                &mut minor_version,
                headers.as_mut_ptr().cast(),
                &mut count,
                0,
            );
            if parsed <= 0 {
                return None;
            }
            (
                parsed,
                std::slice::from_raw_parts(method.cast::<u8>(), method_length),
                std::slice::from_raw_parts(path.cast::<u8>(), path_length),
            )
        };
        (parsed as usize == filled).then(|| digest(method, path, count))
    }
}
