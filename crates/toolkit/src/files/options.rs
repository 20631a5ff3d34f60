//! [`FolderOptions`].

use std::time::Duration;

/// How a folder is served.
///
/// ```
/// use std::time::Duration;
/// use amboss_toolkit::files::FolderOptions;
///
/// let mut options = FolderOptions::default();
/// options.listing = true;
/// options.cache = Some(Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderOptions {
    /// The name of the file that answers for its folder; `index.html`. Empty: none does.
    pub index: String,
    /// Whether a folder without an index is answered with a list of its files; off, since a list can show more than was
    /// meant to be found.
    pub listing: bool,
    /// The maximum number of entries in a listing; 10,000, about two megabytes. The page says that there are more.
    pub listing_limit: usize,
    /// Whether unknown paths are answered with the index of the root, with status 200, for applications that route in
    /// the browser. Only for paths without an extension and requests that accept `text/html`, so that a missing script
    /// or picture stays an error.
    pub spa: bool,
    /// How long clients may use a file without asking again (`Cache-Control: public, max-age=…`, in whole seconds).
    /// `None`, the default, is `no-cache`: clients keep files and ask each time, with 304 as the usual answer.
    pub cache: Option<Duration>,
    /// Whether `name.br`, `name.zst` and `name.gz` are sent for `name` to clients that accept them; off. One that is older
    /// than `name` is not used. Each look-up costs a system call.
    pub precompressed: bool,
    /// Whether names that begin with a dot are served and listed; off, since folders often hold `.git` and `.env`.
    pub hidden: bool,
    /// Names of files and folders that are neither served nor listed, such as that of a configuration file; none by default.
    pub withheld: Vec<String>,
}

impl Default for FolderOptions {
    fn default() -> FolderOptions {
        FolderOptions {
            index: "index.html".to_owned(),
            listing: false,
            listing_limit: 10_000,
            spa: false,
            cache: None,
            precompressed: false,
            hidden: false,
            withheld: Vec::new(),
        }
    }
}

impl FolderOptions {
    /// Whether a name is one of [`withheld`](FolderOptions::withheld). Case does not count, because it does not for some file
    /// systems.
    pub(super) fn withholds(&self, name: &[u8]) -> bool {
        self.withheld.iter().any(|withheld| withheld.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a name in a path is withheld.
    pub(super) fn withholds_in(&self, path: &[u8]) -> bool {
        !self.withheld.is_empty() && path.split(|&byte| byte == b'/').any(|name| self.withholds(name))
    }

    /// The value of Cache-Control.
    pub(super) fn cache_control(&self) -> String {
        match self.cache {
            Some(time) => format!("public, max-age={}", time.as_secs()),
            None => "no-cache".to_owned(),
        }
    }
}
