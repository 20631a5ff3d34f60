//! The departures from RFC 9112 that an application may allow.

/// Departures from the strict reading of RFC 9112, each off by default.
///
/// ```
/// use amboss_core::http::Leniency;
/// assert!(!Leniency::default().obs_fold);
/// assert!(Leniency::werkzeug().obs_fold);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leniency {
    /// Whether an HTTP/1.1 request may have no `Host`, more than one (the first counts) or a malformed one.
    pub any_host: bool,
    /// Whether a request may have both Content-Length and Transfer-Encoding. Transfer-Encoding wins then, and the
    /// connection closes afterwards.
    pub length_and_chunked: bool,
    /// Whether the lines of a head may end with LF alone. RFC 9112 §2.2 allows that; a proxy in front may read the
    /// message differently.
    pub bare_lf: bool,
    /// Whether a field value may be folded. The value is joined: each CR LF is removed, the white space is kept.
    pub obs_fold: bool,
    /// Whether a request-target may hold bytes from 0x80 on that are not percent-encoded, and a fragment, which is
    /// dropped.
    pub raw_target: bool,
}

impl Leniency {
    /// The departures that Werkzeug's server allows: all of them.
    pub fn werkzeug() -> Leniency {
        Leniency { any_host: true, length_and_chunked: true, bare_lf: true, obs_fold: true, raw_target: true }
    }
}
