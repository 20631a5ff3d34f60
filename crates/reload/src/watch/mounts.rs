//! File systems whose changes the system doesn't see, because they are made on another machine: over a network, through
//! FUSE, or on the host of a virtual machine.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// `fuseblk` is not among them: that is a disk in this machine.
const REMOTE: &[&str] = &[
    "9p", "afs", "ceph", "cifs", "fuse", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs", "smb", "smb2", "smb3", "smbfs",
    "vboxsf", "virtiofs", "vmhgfs",
];

/// A sentence that says which of the paths lies on such a file system.
pub(super) fn remote(paths: &[PathBuf]) -> Option<String> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    paths.iter().find_map(|path| remote_in(&mounts, &fs::canonicalize(path).ok()?))
}

fn remote_in(mounts: &[u8], path: &Path) -> Option<String> {
    let kind = kind(mounts, path)?;
    let is_remote = REMOTE.contains(&kind.as_str()) || kind.starts_with("fuse.");
    is_remote.then(|| {
        format!(
            "'{}' lies on a file system of type {kind}, where changes made elsewhere are not reported.",
            path.display()
        )
    })
}

/// The type of the file system that a path lies on, according to `proc_pid_mountinfo(5)`.
fn kind(mounts: &[u8], path: &Path) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for line in mounts.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ');
        let Some(point) = fields.nth(4).map(unescape) else { continue };
        // Optional fields end with a hyphen; the type follows.
        let Some(kind) = fields.skip_while(|field| *field != b"-").nth(1) else { continue };
        let length = point.as_os_str().as_bytes().len();
        // Of two mounts on the same point the later one hides the other.
        if path.starts_with(&point) && best.as_ref().is_none_or(|(longest, _)| length >= *longest) {
            best = Some((length, String::from_utf8_lossy(kind).into_owned()));
        }
    }
    best.map(|(_, kind)| kind)
}

/// Blanks and the like are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::new();
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_says_what_a_path_lies_on() {
        let mounts = b"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            30 22 0:25 / /srv rw - 9p host rw\n\
            31 22 0:26 / /srv/my\\040disk rw master:1 shared:2 - ext4 /dev/vdb rw\n\
            32 22 0:27 / /home/u/remote rw - fuse.sshfs u@h: rw\n\
            35 22 8:17 / /media/stick rw - fuseblk /dev/sdb1 rw\n\
            33 22 0:28 / /tmp rw - tmpfs tmpfs rw\n\
            34 22 0:29 / /tmp rw - nfs4 h:/x rw\n";
        let cases = [
            ("/etc", "ext4", false),
            ("/srv", "9p", true),
            ("/srv/a", "9p", true),
            ("/srvshop", "ext4", false),
            ("/srv/my disk/a", "ext4", false),
            ("/home/u/remote/a", "fuse.sshfs", true),
            ("/media/stick/a", "fuseblk", false),
            ("/tmp/a", "nfs4", true),
        ];
        for (path, expected, is_remote) in cases {
            let path = Path::new(path);
            assert_eq!(kind(mounts, path).as_deref(), Some(expected), "{path:?}");
            let reason = remote_in(mounts, path);
            assert_eq!(reason.is_some(), is_remote, "{path:?}");
            assert!(reason.is_none_or(|reason| reason.starts_with(&format!("'{}' lies on", path.display()))));
        }
        assert_eq!(kind(b"", Path::new("/")), None);
    }
}
