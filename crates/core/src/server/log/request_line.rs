//! The parts of a request line, for logs that have them apart.

use super::record::AccessRecord;

/// The parts of a request line, as sent.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) query: &'a [u8],
    pub(super) protocol: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// Parses the line. `None` when it is not of the form `method target HTTP/x.y`, as the line of a refused request may
    /// be.
    pub(super) fn parse(record: &AccessRecord<'a>) -> Option<RequestLine<'a>> {
        let mut parts = record.request_line.split(|&byte| byte == b' ');
        let (method, target, protocol) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || target.is_empty() || !protocol.starts_with(b"HTTP/") {
            return None;
        }
        let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
        let (path, query) = (&target[..end], target.get(end + 1..).unwrap_or_default());
        // If the target is in absolute form, keep only its path (RFC 9112 §3.2.2).
        let path = match path.windows(3).position(|three| three == b"://") {
            Some(scheme) if path[0] != b'/' => {
                let authority = &path[scheme + 3..];
                authority.iter().position(|&byte| byte == b'/').map_or(&b"/"[..], |slash| &authority[slash..])
            }
            _ => path,
        };
        Some(RequestLine { method, path, query, protocol })
    }
}
