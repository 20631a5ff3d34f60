//! [`FormLimits`].

use std::path::PathBuf;

/// The limits of a form. A form beyond a limit is refused with status 413.
///
/// ```
/// use amboss_toolkit::form::FormLimits;
/// let mut limits = FormLimits::default();
/// limits.parts = 20;
/// limits.total = Some(10 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormLimits {
    /// The maximum number of fields and files together. Default: 1,000, as in Werkzeug and Django: each part costs time
    /// and memory beyond its bytes (CVE-2023-25577).
    pub parts: usize,
    /// The maximum number of bytes of all field values, field names and part headers together, which are kept in memory.
    /// Default: 500,000, as in Werkzeug.
    pub fields_memory: usize,
    /// The maximum number of bytes of the header section of a part, including the empty line, and of the bytes before
    /// the first boundary. Default: 8,192; browsers send less than 400 bytes and a file name.
    pub part_headers: usize,
    /// The maximum number of header fields of a part. Default: 16; browsers send two.
    pub headers_per_part: usize,
    /// The maximum number of bytes of the whole body. Default: `None`, because the server limits bodies already
    /// (`Limits::body` of amboss-core).
    pub total: Option<u64>,
    /// The maximum number of bytes of uploads that a form keeps in memory if the server streams the body. Uploads beyond
    /// it go to a temporary file. It counts all uploads of a form together, because the memory of a form would otherwise
    /// grow with the number of its parts. Default: 512,000 (500 KiB), as in Werkzeug: most photos of a form stay in
    /// memory.
    pub spool: usize,
    /// The folder of that temporary file, which has no name there. Default: `None`, the system's folder.
    pub spool_folder: Option<PathBuf>,
}

impl Default for FormLimits {
    fn default() -> FormLimits {
        FormLimits {
            parts: 1000,
            fields_memory: 500_000,
            part_headers: 8192,
            headers_per_part: 16,
            total: None,
            spool: 500 * 1024,
            spool_folder: None,
        }
    }
}
