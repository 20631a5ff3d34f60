//! Where a message may be less than perfect: nowhere by default, in named places on request.

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
    /// An HTTP/1.1 request may come without `Host`, with several (the first counts) or with a malformed one.
    pub any_host: bool,
    /// With both Content-Length and Transfer-Encoding, Transfer-Encoding wins and the connection closes afterwards.
    pub length_and_chunked: bool,
    /// A head's lines may end with LF alone (RFC 9112 §2.2 allows it; proxies in front may disagree).
    pub bare_lf: bool,
    /// A folded field value is joined: its CR LF is removed, its white space kept.
    pub obs_fold: bool,
    /// A request-target may hold bytes from 0x80 on, which ought to have been percent-encoded.
    pub raw_target: bool,
}

impl Leniency {
    /// What Werkzeug's server lets pass.
    pub fn werkzeug() -> Leniency {
        Leniency { any_host: true, length_and_chunked: true, bare_lf: true, obs_fold: true, raw_target: true }
    }
}
