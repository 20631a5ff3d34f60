//! Percent-encoding of paths.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The bytes that are percent-encoded in an absolute path: all but `pchar` (RFC 3986 §3.3) and the slash. A backslash is
/// encoded, since browsers treat it as a slash.
pub(crate) const NOT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');
