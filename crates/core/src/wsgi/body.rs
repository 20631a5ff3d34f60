//! The body of a response: bytes, blocks, or a file.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;

use super::error::AppError;

/// The iterator of [`Body::try_iter`].
pub(crate) type Blocks = Box<dyn Iterator<Item = Result<Vec<u8>, AppError>> + Send>;

/// The body of a response.
///
/// Bytes are sent with a Content-Length. The blocks of an iterator are sent one by one, each as soon as it is available
/// (chunked for HTTP/1.1, until close for HTTP/1.0); the next block is requested only when the client can receive more.
/// A file is sent from its current position.
///
/// Dropping the body is PEP 3333's `close()`: it happens exactly once, even after an error and after the client has
/// closed the connection.
///
/// ```
/// use amboss_core::Body;
/// let whole = Body::from("Hello world!\n");
/// let blocks = Body::iter((0..3).map(|n| format!("{n}\n").into_bytes()));
/// ```
pub struct Body(pub(crate) Kind);

/// The kinds of bodies.
pub(crate) enum Kind {
    Bytes(Cow<'static, [u8]>),
    Blocks(Blocks),
    File { file: File, length: Option<u64>, close: Option<OnClose> },
}

/// A function that is called when the value is dropped.
pub(crate) struct OnClose(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnClose {
    fn drop(&mut self) {
        if let Some(close) = self.0.take() {
            close();
        }
    }
}

impl Body {
    /// Creates a body without bytes.
    pub fn empty() -> Body {
        Body(Kind::Bytes(Cow::Borrowed(b"")))
    }

    /// Takes the body, and leaves an empty one.
    pub(crate) fn take(&mut self) -> Body {
        std::mem::replace(self, Body::empty())
    }

    /// Creates a body from an iterator over blocks of bytes. Empty blocks send nothing.
    ///
    /// If the `size_hint` after the first block says that no block follows, the body is sent with a Content-Length.
    pub fn iter<I>(blocks: I) -> Body
    where
        I: IntoIterator<Item = Vec<u8>>,
        I::IntoIter: Send + 'static,
    {
        Body::try_iter(blocks.into_iter().map(Ok))
    }

    /// Creates a body from an iterator over blocks of bytes that can fail. An error is handled as if the application
    /// had returned it.
    pub fn try_iter<I>(blocks: I) -> Body
    where
        I: IntoIterator<Item = Result<Vec<u8>, AppError>>,
        I::IntoIter: Send + 'static,
    {
        Body(Kind::Blocks(Box::new(blocks.into_iter())))
    }

    /// Appends bytes to the body, as middleware appends to a page.
    #[must_use]
    pub fn followed_by(self, more: Vec<u8>) -> Body {
        match self.0 {
            Kind::Bytes(bytes) => Body::from([&bytes[..], &more].concat()),
            Kind::Blocks(blocks) => Body(Kind::Blocks(Box::new(blocks.chain(std::iter::once(Ok(more)))))),
            file => Body(Kind::Blocks(Box::new(Body(file).into_iter().chain(std::iter::once(Ok(more)))))),
        }
    }

    /// Appends bytes that depend on the first bytes of the body. `more` receives up to eight of them, after all others
    /// have been sent.
    #[must_use]
    pub fn followed_by_with(self, more: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static) -> Body {
        match self.0 {
            Kind::Bytes(bytes) => {
                let more = more(&bytes[..bytes.len().min(FIRST)]);
                Body::from([&bytes[..], &more].concat())
            }
            Kind::Blocks(blocks) => {
                Body(Kind::Blocks(Box::new(Followed { blocks, first: Vec::new(), more: Some(Box::new(more)) })))
            }
            file => Body(Kind::Blocks(Body(file).into_iter())).followed_by_with(more),
        }
    }

    /// Creates a body from a file, from its current position to its end (`wsgi.file_wrapper`). It is sent with
    /// `sendfile` if the system supports it.
    pub fn file(file: File) -> Body {
        Body(Kind::File { file, length: None, close: None })
    }

    /// Creates a body from `length` bytes of a file, from its current position.
    pub fn file_range(file: File, length: u64) -> Body {
        Body(Kind::File { file, length: Some(length), close: None })
    }

    /// Produces the first block of an iterator now, for middleware that can still replace the response if that fails. Bytes
    /// and files stay as they are.
    ///
    /// # Errors
    /// The error of the first block.
    pub fn with_first_block(self) -> Result<Body, AppError> {
        let Kind::Blocks(mut blocks) = self.0 else { return Ok(self) };
        match blocks.next().transpose()? {
            Some(first) => Ok(Body(Kind::Blocks(Box::new(std::iter::once(Ok(first)).chain(blocks))))),
            None => Ok(Body::empty()),
        }
    }

    /// The length in bytes of a body of bytes; `None` for blocks and files.
    pub fn byte_length(&self) -> Option<usize> {
        match &self.0 {
            Kind::Bytes(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    /// Calls `close` when the body is dropped (PEP 3333's `close()`), for cleanup that dropping does not do.
    #[must_use]
    pub fn on_close(self, close: impl FnOnce() + Send + 'static) -> Body {
        let on_close = OnClose(Some(Box::new(close)));
        match self.0 {
            Kind::Bytes(bytes) => {
                let blocks = Box::new(std::iter::once(Ok(bytes.into_owned())));
                Body(Kind::Blocks(Box::new(Closing { blocks, _close: on_close })))
            }
            Kind::Blocks(blocks) => Body(Kind::Blocks(Box::new(Closing { blocks, _close: on_close }))),
            Kind::File { file, length, close: None } => Body(Kind::File { file, length, close: Some(on_close) }),
            Kind::File { file, length, close: Some(mut earlier) } => {
                let (first, mut second) = (earlier.0.take(), on_close);
                let second = second.0.take();
                let both = move || first.into_iter().chain(second).for_each(|close| close());
                Body(Kind::File { file, length, close: Some(OnClose(Some(Box::new(both)))) })
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Blocks(_) => f.write_str("Body(blocks)"),
            Kind::File { file, length, .. } => write!(f, "Body({file:?}, {length:?})"),
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::from(text.as_bytes())
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Body(Kind::Bytes(Cow::Borrowed(bytes)))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(Kind::Bytes(Cow::Owned(bytes)))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::from(text.into_bytes())
    }
}

/// The blocks of a body, as middleware reads them: one block of bytes, the blocks of the application, or those of a file
/// of 64 KiB each. A block may be empty. Dropping the iterator closes the body.
impl IntoIterator for Body {
    type Item = Result<Vec<u8>, AppError>;
    type IntoIter = Box<dyn Iterator<Item = Result<Vec<u8>, AppError>> + Send>;

    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Kind::Bytes(bytes) => Box::new(std::iter::once(Ok(bytes.into_owned()))),
            Kind::Blocks(blocks) => blocks,
            Kind::File { file, length, close } => Box::new(FileBlocks { file, left: length, _close: close }),
        }
    }
}

/// How many bytes are read from a file at once.
const BLOCK: usize = 64 * 1024;

/// An iterator over the blocks of a file from its current position on. Pipes and devices are sent this way.
pub(crate) struct FileBlocks {
    pub(crate) file: File,
    pub(crate) left: Option<u64>,
    pub(crate) _close: Option<OnClose>,
}

/// How many of the first bytes of a body are kept for the bytes that follow it: more than any file signature needs.
const FIRST: usize = 8;

type More = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

/// Blocks followed by one more, which depends on their first bytes.
struct Followed {
    blocks: Blocks,
    first: Vec<u8>,
    more: Option<More>,
}

impl Iterator for Followed {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Without `more`, the additional block has been returned, and it was the last.
        self.more.as_ref()?;
        match self.blocks.next() {
            Some(Ok(block)) => {
                let missing = FIRST - self.first.len();
                self.first.extend_from_slice(&block[..missing.min(block.len())]);
                Some(Ok(block))
            }
            Some(Err(error)) => Some(Err(error)),
            None => self.more.take().map(|more| Ok(more(&self.first))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let more = usize::from(self.more.is_some());
        let (least, most) = self.blocks.size_hint();
        (least.saturating_add(more), most.and_then(|most| most.checked_add(more)))
    }
}

/// Blocks with a function that is called when they are dropped.
struct Closing {
    blocks: Blocks,
    _close: OnClose,
}

impl Iterator for Closing {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.blocks.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.blocks.size_hint()
    }
}

impl Iterator for FileBlocks {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = self.left.map_or(BLOCK, |left| usize::try_from(left).unwrap_or(BLOCK).min(BLOCK));
        let mut block = vec![0; wanted];
        match std::io::Read::read(&mut self.file, &mut block) {
            Ok(0) => None,
            Ok(count) => {
                block.truncate(count);
                self.left = self.left.map(|left| left - count as u64);
                Some(Ok(block))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
