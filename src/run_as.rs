//! Giving up the rights of root, once the sockets are bound and keys are read.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, AT_FDCWD};
use nix::unistd::{self, Gid, Group, Uid, User};

use crate::error::{RunError, RunErrorKind};

/// The user and the group as which requests run.
///
/// A server that is started by root listens on its addresses, and reads its certificates and keys, as root. Then it
/// becomes this user, before the application is loaded. Under a supervisor, the workers become this user, and the
/// supervisor stays root, so that it can start others; an application that is loaded before its workers are forked is
/// loaded as root.
#[derive(Clone, Debug)]
pub struct RunAs {
    user: Option<NamedUser>,
    group: Option<Gid>,
}

#[derive(Clone, Debug)]
struct NamedUser {
    uid: Uid,
    /// `None` for a number without an entry in the system's list of users.
    name: Option<CString>,
}

impl RunAs {
    /// Looks up a user and a group, by their names or numbers. Without a group, it is that of the user.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn new(user: Option<&str>, group: Option<&str>) -> Result<RunAs, RunError> {
        let unknown = |what: &str, name: &str| {
            RunErrorKind::Options(format!("there is no {what} '{name}'; create it, or name another one").into())
        };
        let mut run_as = RunAs { user: None, group: None };
        if let Some(name) = user {
            let found = match name.parse() {
                Ok(number) => User::from_uid(Uid::from_raw(number)),
                Err(_) => User::from_name(name),
            };
            run_as.user = match (found.ok().flatten(), name.parse()) {
                (Some(user), _) => {
                    run_as.group = Some(user.gid);
                    Some(NamedUser { uid: user.uid, name: CString::new(user.name).ok() })
                }
                // Containers have users that are numbers alone.
                (None, Ok(number)) if group.is_some() => Some(NamedUser { uid: Uid::from_raw(number), name: None }),
                (None, Ok(number)) => {
                    let message =
                        format!("the user {number} has no entry with a group; add --group, or create the user");
                    return Err(RunErrorKind::Options(message.into()).into());
                }
                (None, Err(_)) => return Err(unknown("user", name).into()),
            };
        }
        if let Some(name) = group {
            let found = match name.parse() {
                Ok(number) => Group::from_gid(Gid::from_raw(number)),
                Err(_) => Group::from_name(name),
            };
            run_as.group = match (found.ok().flatten(), name.parse()) {
                (Some(group), _) => Some(group.gid),
                (None, Ok(number)) => Some(Gid::from_raw(number)),
                (None, Err(_)) => return Err(unknown("group", name).into()),
            };
        }
        Ok(run_as)
    }

    /// Gives a file to the user and the group, if this process may do that. The file is an open one that this process has
    /// created, because a path may lead somewhere else by now.
    pub(crate) fn own(&self, file: &File) {
        if Uid::effective().is_root() {
            let _ = unistd::fchown(file, self.user.as_ref().map(|user| user.uid), self.group);
        }
    }

    /// Gives the socket at a path to the user and the group. A link is not followed.
    pub(crate) fn own_socket(&self, path: &Path) {
        if Uid::effective().is_root() {
            let user = self.user.as_ref().map(|user| user.uid);
            let _ = unistd::fchownat(AT_FDCWD, path, user, self.group, AtFlags::AT_SYMLINK_NOFOLLOW);
        }
    }

    /// Makes this process run as the user and the group, with the groups of that user. A process cannot go back.
    ///
    /// # Errors
    /// The process is not root's, and is not the user's either.
    pub fn apply(&self) -> Result<(), RunError> {
        let has_user = self.user.as_ref().is_none_or(|user| user.uid == Uid::effective());
        let has_group = self.group.is_none_or(|group| group == Gid::effective());
        if has_user && has_group && !Uid::effective().is_root() {
            return Ok(());
        }
        self.change().map_err(|error| {
            let advice = "start it as root, or leave out --user and --group";
            RunErrorKind::Options(format!("can't run as another user or group ({error}); {advice}").into()).into()
        })
    }

    fn change(&self) -> io::Result<()> {
        if let Some(group) = self.group {
            match self.user.as_ref().and_then(|user| user.name.as_deref()) {
                Some(name) => unistd::initgroups(name, group)?,
                None => unistd::setgroups(&[group])?,
            }
            unistd::setgid(group)?;
        }
        let Some(NamedUser { uid, .. }) = &self.user else { return Ok(()) };
        unistd::setuid(*uid)?;
        if !uid.is_root() && unistd::setuid(Uid::from_raw(0)) != Err(Errno::EPERM) {
            return Err(io::Error::other("the process could become root again"));
        }
        Ok(())
    }
}
