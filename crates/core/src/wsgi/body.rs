//! What an application returns: bytes, blocks, or a file.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;

use super::AppError;

/// The iterator behind [`Body::try_iter`].
pub(crate) type Blocks = Box<dyn Iterator<Item = Result<Vec<u8>, AppError>> + Send>;

/// The body of a response.
///
/// Bytes are sent with a Content-Length. An iterator is sent block by block, each as soon as it is there (chunked for
/// HTTP/1.1, until close for HTTP/1.0); it is asked for the next block only when the client has room for it. A file
/// is sent from its current position.
///
/// Dropping the body is PEP 3333's `close()`: it happens exactly once, also after an error and when the client has
/// left.
///
/// ```
/// use amboss_core::Body;
/// let whole = Body::from("Hello world!\n");
/// let blocks = Body::iter((0..3).map(|n| format!("{n}\n").into_bytes()));
/// ```
pub struct Body(pub(crate) Kind);

pub(crate) enum Kind {
    Bytes(Cow<'static, [u8]>),
    Blocks(Blocks),
    File { file: File, length: Option<u64> },
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Body {
        Body(Kind::Bytes(Cow::Borrowed(b"")))
    }

    /// Blocks of bytes from an iterator. Empty blocks send nothing.
    ///
    /// An iterator whose `size_hint` says after the first block that nothing follows gets a Content-Length.
    pub fn iter<I>(blocks: I) -> Body
    where
        I: IntoIterator<Item = Vec<u8>>,
        I::IntoIter: Send + 'static,
    {
        Body::try_iter(blocks.into_iter().map(Ok))
    }

    /// Blocks of bytes from an iterator that can fail. An error is treated as if the application had returned it.
    pub fn try_iter<I>(blocks: I) -> Body
    where
        I: IntoIterator<Item = Result<Vec<u8>, AppError>>,
        I::IntoIter: Send + 'static,
    {
        Body(Kind::Blocks(Box::new(blocks.into_iter())))
    }

    /// A file from its current position to its end (`wsgi.file_wrapper`), by `sendfile` where the system has it.
    pub fn file(file: File) -> Body {
        Body(Kind::File { file, length: None })
    }

    /// So many bytes of a file from its current position.
    pub fn file_range(file: File, length: u64) -> Body {
        Body(Kind::File { file, length: Some(length) })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Blocks(_) => f.write_str("Body(blocks)"),
            Kind::File { file, length } => write!(f, "Body({file:?}, {length:?})"),
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
