//! Where the bytes of an upload are kept: in memory, or as a range of a file that other uploads of the form share.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::limits::FormLimits;

/// The bytes of an upload.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Arc<[u8]>),
    File { file: Arc<File>, range: Range<u64> },
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File { range, .. } => range.end - range.start,
        }
    }
}

/// A reader of an uploaded file, from [`FilePart::open`](super::FilePart::open). Each reader has its own position.
#[derive(Clone, Debug)]
pub struct FileReader {
    content: Content,
    position: u64,
}

impl FileReader {
    pub(super) fn new(content: Content) -> FileReader {
        FileReader { content, position: 0 }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len().saturating_sub(self.position);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = match &self.content {
            Content::Memory(bytes) => {
                let from = self.position as usize;
                buffer[..wanted].copy_from_slice(&bytes[from..from + wanted]);
                wanted
            }
            Content::File { file, range } => read_at(file, &mut buffer[..wanted], range.start + self.position)?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.content.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the position is before the start of the file")
        })?;
        Ok(self.position)
    }
}

/// Reads from a position of a file, independently of the position of the descriptor.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, buffer, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
}

/// Takes the bytes of one upload after the other.
pub(super) enum Store {
    /// The body is a file already: an upload is a range of it, and nothing is written.
    Ranges { file: Arc<File>, range: Range<u64> },
    /// Uploads are copied to memory, and beyond a limit to a temporary file.
    Spool(Spool),
}

impl Store {
    /// Makes a store for a body that is in memory, so copies of its parts need no other limit.
    pub(super) fn memory() -> Store {
        Store::Spool(Spool::new(usize::MAX, None))
    }

    pub(super) fn ranges(file: &File) -> io::Result<Store> {
        Ok(Store::Ranges { file: Arc::new(file.try_clone()?), range: 0..0 })
    }

    pub(super) fn spool(limits: &FormLimits) -> Store {
        Store::Spool(Spool::new(limits.spool, limits.spool_folder.clone()))
    }

    /// Takes bytes of the current upload. `offset` is their position in the body.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Store::Ranges { range, .. } => {
                // The data of a part has no gaps.
                let start = if range.is_empty() { offset } else { range.start };
                *range = start..offset + bytes.len() as u64;
                Ok(())
            }
            Store::Spool(spool) => spool.write(bytes),
        }
    }

    /// Ends the current upload.
    pub(super) fn end(&mut self) -> Content {
        match self {
            Store::Ranges { file, range } => Content::File { file: Arc::clone(file), range: std::mem::take(range) },
            Store::Spool(spool) => spool.end(),
        }
    }
}

/// Memory with a limit, then one temporary file for all uploads of the form, so that a form takes one descriptor.
pub(super) struct Spool {
    limit: usize,
    folder: Option<PathBuf>,
    /// The bytes in memory, of the current upload and of earlier ones.
    in_memory: usize,
    /// The current upload, as long as it is in memory.
    current: Vec<u8>,
    /// The range of the current upload in the file.
    spilled: Option<Range<u64>>,
    /// The temporary file and its length.
    file: Option<(Arc<File>, u64)>,
}

impl Spool {
    fn new(limit: usize, folder: Option<PathBuf>) -> Spool {
        Spool { limit, folder, in_memory: 0, current: Vec::new(), spilled: None, file: None }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.spilled.is_none() {
            if bytes.len() <= self.limit - self.in_memory {
                self.in_memory += bytes.len();
                self.current.extend_from_slice(bytes);
                return Ok(());
            }
            let current = std::mem::take(&mut self.current);
            self.in_memory -= current.len();
            self.append(&current)?;
        }
        self.append(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, end) = match &mut self.file {
            Some(file) => file,
            none => none.insert((Arc::new(new_file(self.folder.as_deref())?), 0)),
        };
        (&mut &**file).write_all(bytes)?;
        let start = self.spilled.as_ref().map_or(*end, |range| range.start);
        *end += bytes.len() as u64;
        self.spilled = Some(start..*end);
        Ok(())
    }

    fn end(&mut self) -> Content {
        match (self.spilled.take(), &self.file) {
            (Some(range), Some((file, _))) => Content::File { file: Arc::clone(file), range },
            _ => Content::Memory(std::mem::take(&mut self.current).into()),
        }
    }
}

/// Makes a temporary file without a name.
fn new_file(folder: Option<&Path>) -> io::Result<File> {
    match folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        FileReader::new(content).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn uploads_beyond_the_limit_share_one_file() {
        let mut spool = Spool::new(10, None);
        let uploads: [&[&[u8]]; 5] = [&[b"1234"], &[b"567", b"890", b"abc"], &[], &[b"defghi"], &[b"j"]];
        let mut contents = Vec::new();
        for upload in uploads {
            upload.iter().for_each(|bytes| spool.write(bytes).unwrap());
            contents.push((spool.end(), upload.concat()));
            assert!(spool.in_memory <= 10);
        }
        let in_file: Vec<_> = contents.iter().map(|(content, _)| matches!(content, Content::File { .. })).collect();
        assert_eq!(in_file, [false, true, false, false, true]);
        for (content, expected) in contents {
            assert_eq!((content.len(), read(content)), (expected.len() as u64, expected));
        }
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error() {
        let mut spool = Spool::new(0, Some("/does/not/exist".into()));
        assert_eq!(spool.write(b"a").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_reader_stays_in_its_range_and_seeks_in_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"..hello..").unwrap();
        let in_file = Content::File { file: Arc::new(file), range: 2..7 };
        for content in [in_file, Content::Memory(b"hello"[..].into())] {
            let mut reader = FileReader::new(content.clone());
            let mut first = [0; 2];
            reader.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"he");
            assert_eq!(reader.seek(SeekFrom::End(-2)).unwrap(), 3);
            assert_eq!(io::read_to_string(&mut reader).unwrap(), "lo");
            assert_eq!(reader.seek(SeekFrom::Current(-4)).unwrap(), 1);
            assert_eq!(io::read_to_string(&mut reader).unwrap(), "ello");
            assert!(reader.seek(SeekFrom::Current(-6)).is_err() && reader.seek(SeekFrom::Start(9)).is_ok());
            assert_eq!(reader.read(&mut first).unwrap(), 0, "there is nothing after the end");
            assert_eq!(read(content), b"hello", "another reader begins at the start");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let content = Content::File { file: Arc::new(tempfile::tempfile().unwrap()), range: 0..5 };
        let error = FileReader::new(content).read(&mut [0; 5]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
