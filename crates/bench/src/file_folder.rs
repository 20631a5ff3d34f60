//! The files of the tables of files: plain text of three lengths, in a temporary folder that is removed at the end.
//! Writing them leaves them in the page cache, so the tables measure no disk.

use crate::result::Result;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file of a certain length.
pub struct SizedFile {
    /// The length, for titles.
    pub title: &'static str,
    /// The name in the folder.
    pub name: &'static str,
    length: usize,
}

/// An icon or a short script.
pub const SMALL: SizedFile = SizedFile { title: "1 KiB", name: "1k.txt", length: 1 << 10 };
/// A picture or a style sheet.
pub const MEDIUM: SizedFile = SizedFile { title: "100 KiB", name: "100k.txt", length: 100 << 10 };
/// A download.
pub const LARGE: SizedFile = SizedFile { title: "100 MiB", name: "100m.txt", length: 100 << 20 };

impl SizedFile {
    /// The content. It has a period that no block size divides, so that a block at a wrong offset is noticed.
    pub fn content(&self) -> Vec<u8> {
        (b'a'..b'x').cycle().take(self.length).collect()
    }
}

/// The folder with the files. Dropping it removes the folder.
pub struct FileFolder(PathBuf);

impl FileFolder {
    /// Creates the files for the servers that this process starts.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn create() -> Result<Self> {
        let folder = FileFolder(folder(std::process::id()));
        write_files(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for FileFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The folder with the files for servers that the process with this id starts.
pub fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("amboss-bench-files-{pid}"))
}

/// Creates a folder with the files.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_files(folder: &Path) -> Result<()> {
    let write = |file: &SizedFile| -> io::Result<()> {
        let mut output = File::create(folder.join(file.name))?;
        output.write_all(&file.content())?;
        // Otherwise the system would write it during the first measurements.
        output.sync_all()
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| [SMALL, MEDIUM, LARGE].iter().try_for_each(write))
        .map_err(|error| format!("can't write files to {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_blocks_of_the_content_are_equal() {
        let content = MEDIUM.content();
        assert_eq!(content.len(), 100 << 10);
        for block in [512, 1024, 4096, 65_536] {
            assert_ne!(content[..16], content[block..][..16], "{block}");
        }
    }
}
