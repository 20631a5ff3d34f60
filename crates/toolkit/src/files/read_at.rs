//! Reading a part of a file.

use std::fs::File;
use std::io;

/// Reads bytes of a file.
///
/// # Errors
/// Fewer bytes, since the file has been truncated: another length has been announced already.
pub(super) fn read_exact_at(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, offset)?;
    #[cfg(not(unix))]
    {
        io::Seek::seek(file, io::SeekFrom::Start(offset))?;
        io::Read::read_exact(file, &mut bytes)?;
    }
    Ok(bytes)
}
