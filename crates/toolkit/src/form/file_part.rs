//! [`FilePart`] and [`Files`].

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::{FormError, FormErrorKind};
use super::multipart::part_head::PartHead;
use super::secure_filename::secure_filename;
use super::storage::{Content, FileReader};
use crate::headers::Headers;

/// A file of a form.
///
/// Its bytes are in memory or in a temporary file without a name, which is deleted when the last part in it and the last
/// reader of it are dropped.
///
/// ```no_run
/// use amboss_toolkit::form::{FilePart, FormError};
/// fn store(photo: &FilePart) -> std::io::Result<()> {
///     let name = photo.secure_filename();
///     if name.is_empty() || photo.size() > 5_000_000 {
///         return Err(std::io::Error::other("choose a photo of at most 5 MB with a plain name"));
///     }
///     photo.save(std::path::Path::new("uploads").join(name))?;
///     Ok(())
/// }
/// ```
pub struct FilePart {
    head: PartHead,
    content: Content,
}

impl FilePart {
    pub(super) fn new(head: PartHead, content: Content) -> FilePart {
        FilePart { head, content }
    }

    /// The name of the form's field.
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// The file name as the client sent it, or its last component if it is a Windows path.
    ///
    /// It may contain `/`, `..` and line breaks: never use it as a path, and see
    /// [`secure_filename`](FilePart::secure_filename).
    pub fn filename(&self) -> &str {
        self.head.filename.as_deref().unwrap_or_default()
    }

    /// A file name that is safe to use in a folder; empty if nothing is left of the name that was sent. See
    /// [`secure_filename`](super::secure_filename).
    pub fn secure_filename(&self) -> String {
        secure_filename(self.filename())
    }

    /// The media type as the client sent it. The bytes may have another one.
    pub fn content_type(&self) -> Option<Cow<'_, str>> {
        self.head.content_type()
    }

    /// The header fields of the part.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.content.len()
    }

    /// Opens the file for reading, from its start.
    pub fn open(&self) -> FileReader {
        FileReader::new(self.content.clone())
    }

    /// Reads the whole file into memory. `limit` is the maximum size in bytes.
    ///
    /// # Errors
    /// A file that is larger (413), or that can't be read (500).
    pub fn bytes(&self, limit: u64) -> Result<Vec<u8>, FormError> {
        if self.size() > limit {
            return Err(FormErrorKind::FileTooLarge(limit).into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or_default());
        self.open().read_to_end(&mut bytes).map_err(FormErrorKind::Storage)?;
        Ok(bytes)
    }

    /// Copies the file to a path, replacing a file that exists there. The path must not come from the client; see
    /// [`secure_filename`](FilePart::secure_filename).
    ///
    /// # Errors
    /// If the file can't be read, or the path can't be written; then a part of the copy may exist.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut file = File::create(path)?;
        match &self.content {
            Content::Memory(bytes) => file.write_all(bytes),
            Content::File { .. } => io::copy(&mut self.open(), &mut file).map(|_| ()),
        }
    }
}

impl fmt::Debug for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct("FilePart");
        output.field("name", &self.name()).field("filename", &self.filename());
        output.field("content_type", &self.content_type()).field("size", &self.size()).finish()
    }
}

/// The files of a form, in order. A name may occur more than once (`<input type=file multiple>`).
///
/// A file input in which no file was chosen is left out.
#[derive(Debug, Default)]
pub struct Files(Vec<FilePart>);

impl Files {
    /// The first file with this name.
    pub fn get(&self, name: &str) -> Option<&FilePart> {
        self.get_all(name).next()
    }

    /// All files with this name, in order.
    pub fn get_all<'f, 'n>(&'f self, name: &'n str) -> impl Iterator<Item = &'f FilePart> + use<'f, 'n> {
        self.iter().filter(move |file| file.name() == name)
    }

    /// The files in order.
    pub fn iter(&self) -> std::slice::Iter<'_, FilePart> {
        self.0.iter()
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, file: FilePart) {
        self.0.push(file);
    }
}

impl<'f> IntoIterator for &'f Files {
    type Item = &'f FilePart;
    type IntoIter = std::slice::Iter<'f, FilePart>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Files {
    type Item = FilePart;
    type IntoIter = std::vec::IntoIter<FilePart>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
