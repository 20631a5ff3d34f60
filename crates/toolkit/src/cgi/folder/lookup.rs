//! Finding the script of a request in the folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};

/// A folder of scripts, which the lookup does not leave.
///
/// Between the check and the start of a script, another process can replace the file or a folder above it with a
/// symbolic link that leads out of the folder. A process that can write there can also put a script there, so the race
/// gives nothing away.
pub(super) struct ScriptFolder {
    dir: Dir,
    path: PathBuf,
}

/// A script, and how the path of a request is divided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundScript {
    /// The absolute path of the file.
    pub file: PathBuf,
    /// The part of the request's path that names the script, with the slash in front of it.
    pub name: Vec<u8>,
    /// The part behind it: empty, or with a slash in front of it.
    pub path_info: Vec<u8>,
}

/// The reason why a request has no script that can be run.
#[derive(Debug)]
pub(super) enum LookupError {
    NotFound,
    NotExecutable,
    NonParsedHeader,
    Unreadable(io::Error),
}

impl LookupError {
    pub(super) fn status(&self) -> u16 {
        match self {
            LookupError::NotFound => 404,
            LookupError::NotExecutable | LookupError::Unreadable(_) => 403,
            LookupError::NonParsedHeader => 501,
        }
    }

    /// The sentence for the client, which does not show paths of the server.
    pub(super) fn page(&self) -> &'static str {
        match self {
            LookupError::NotFound => "There is no script at this address.",
            LookupError::NotExecutable | LookupError::Unreadable(_) => {
                "The script can't be run. The log of the server says why."
            }
            LookupError::NonParsedHeader => {
                "Scripts whose name begins with nph- write to the connection themselves, which this server does not \
                 support: rename the script, and let it write Status instead of a status line."
            }
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::NotExecutable => f.write_str("it is not executable: run chmod +x on its file"),
            LookupError::Unreadable(error) => write!(f, "it can't be opened: {error}"),
            other => f.write_str(other.page()),
        }
    }
}

impl ScriptFolder {
    pub(super) fn open(path: &Path) -> io::Result<ScriptFolder> {
        let path = path.canonicalize()?;
        let dir = Dir::open_ambient_dir(&path, ambient_authority())?;
        Ok(ScriptFolder { dir, path })
    }

    /// Finds the script of a path below the prefix: the first regular file on the way from the folder downwards. Names
    /// that begin with a dot are never looked up, and links lead only to files within the folder.
    pub(super) fn find(&self, path: &[u8]) -> Result<FoundScript, LookupError> {
        let (mut file, mut end) = (PathBuf::new(), 0);
        for segment in path.split(|&byte| byte == b'/').skip(1) {
            // An empty segment is a second slash, or the end of a path to a folder.
            if segment.is_empty() || segment[0] == b'.' || segment.contains(&0) {
                return Err(LookupError::NotFound);
            }
            file.push(OsStr::from_bytes(segment));
            end += 1 + segment.len();
            let metadata = self.dir.metadata(&file).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename => LookupError::NotFound,
                _ => LookupError::Unreadable(error),
            })?;
            if metadata.is_file() {
                return self.check(&file, metadata.mode(), path.split_at(end));
            }
            if !metadata.is_dir() {
                break;
            }
        }
        Err(LookupError::NotFound)
    }

    fn check(&self, file: &Path, mode: u32, (name, rest): (&[u8], &[u8])) -> Result<FoundScript, LookupError> {
        // RFC 3875 §5: the convention for names of such scripts.
        if file.file_name().is_some_and(|name| name.as_bytes().starts_with(b"nph-")) {
            return Err(LookupError::NonParsedHeader);
        }
        if mode & 0o111 == 0 {
            return Err(LookupError::NotExecutable);
        }
        // An environment variable can't contain NUL.
        if rest.contains(&0) {
            return Err(LookupError::NotFound);
        }
        Ok(FoundScript { file: self.path.join(file), name: name.to_vec(), path_info: rest.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{symlink, PermissionsExt};

    use amboss_testkit::TempDir;

    use super::*;

    fn write(dir: &TempDir, name: &str, mode: u32) {
        dir.write(name, "#!/bin/sh\n");
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_file_on_the_way_is_the_script() {
        let dir = TempDir::new("cgi-lookup");
        write(&dir, "scripts/run", 0o755);
        write(&dir, "scripts/below/run", 0o700);
        write(&dir, "scripts/plain", 0o644);
        write(&dir, "scripts/nph-run", 0o755);
        write(&dir, "scripts/.hidden", 0o755);
        write(&dir, "scripts/.git/hook", 0o755);
        write(&dir, "outside", 0o755);
        symlink("run", dir.join("scripts/link")).unwrap();
        symlink("../outside", dir.join("scripts/leaves")).unwrap();
        symlink(dir.join("outside"), dir.join("scripts/absolute")).unwrap();
        symlink("..", dir.join("scripts/up")).unwrap();
        symlink("loop", dir.join("scripts/loop")).unwrap();
        let folder = ScriptFolder::open(&dir.join("scripts")).unwrap();
        for (path, file, name, path_info) in [
            ("/run", "scripts/run", "/run", ""),
            ("/run/", "scripts/run", "/run", "/"),
            ("/run/a//b/../c", "scripts/run", "/run", "/a//b/../c"),
            ("/below/run/x", "scripts/below/run", "/below/run", "/x"),
            ("/link", "scripts/link", "/link", ""),
        ] {
            let expected = FoundScript { file: dir.join(file), name: name.into(), path_info: path_info.into() };
            assert_eq!(folder.find(path.as_bytes()).unwrap(), expected);
        }
        for (path, status) in [
            (&b""[..], 404),
            (b"/", 404),
            (b"/below", 404),
            (b"/below/", 404),
            (b"//run", 404),
            (b"/missing", 404),
            (b"/.hidden", 404),
            (b"/.git/hook", 404),
            (b"/../outside", 404),
            (b"/./run", 404),
            (b"/below/../run", 404),
            (b"/run\0", 404),
            (b"/run/\0", 404),
            (&[&b"/"[..], &[b'x'; 5000]].concat(), 404),
            (b"/leaves", 403),
            (b"/absolute", 403),
            (b"/up/outside", 403),
            (b"/loop", 403),
            (b"/plain", 403),
            (b"/nph-run", 501),
        ] {
            let error = folder.find(path).expect_err(&path.escape_ascii().to_string());
            assert_eq!(error.status(), status, "{}: {error:?}", path.escape_ascii());
        }
    }
}
