//! The options of a parser of heads: limits and leniency.

use super::super::leniency::Leniency;

/// Limits on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadLimits {
    /// The maximum length of the request line in bytes, without its line end; beyond it: 414. Default: 8 KiB, the
    /// minimum that RFC 9112 §3 recommends.
    pub request_line: usize,
    /// The maximum length of the header section in bytes; beyond it: 431. Default: 64 KiB, enough for the largest
    /// cookies and tokens in use.
    pub header_section: usize,
    /// The maximum number of field lines; beyond it: 431. Default: 100, several times what browsers and proxies send
    /// together.
    pub fields: usize,
    /// The maximum length of one field in bytes, name and value without the white space around it; beyond it: 431. Default:
    /// none besides `header_section`.
    pub field: usize,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits { request_line: 8 * 1024, header_section: 64 * 1024, fields: 100, field: usize::MAX }
    }
}

/// The options of a parser of heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadOptions {
    /// The limits.
    pub limits: HeadLimits,
    /// The departures from the strict reading.
    pub leniency: Leniency,
}

impl From<(HeadLimits, Leniency)> for HeadOptions {
    fn from((limits, leniency): (HeadLimits, Leniency)) -> HeadOptions {
        HeadOptions { limits, leniency }
    }
}
