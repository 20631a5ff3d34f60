//! The certificate that is there when nobody brought one: made once, kept in the user's cache folder, used again until
//! it nears its end or a host is missing. A browser that was told to accept it is not asked again.
//!
//! Certificate and key stand in one file that is replaced as a whole, so that two servers that start at once both have
//! a pair that fits. A server stays with what it began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;

use crate::cert_info::CertInfo;
use crate::error::SslError;
use crate::files;
use crate::host::{merge, Host};
use crate::make;
use crate::read;

const FILE: &str = "adhoc.pem";
/// A certificate is replaced when no more than this is left of its time, in seconds: 30 days, longer than most servers
/// for developing run.
const MARGIN: i64 = 30 * 24 * 3600;
/// Hosts are kept when others are added, so that servers with different ones don't take the file from each other in
/// turn; this many, lest it grow for ever.
const KEPT: usize = 64;

/// The kept certificate, or a new one; and a remark, when it could not be kept.
pub(crate) fn identity(
    folder: Option<PathBuf>,
    hosts: &[&str],
) -> Result<(Arc<CertifiedKey>, Option<String>), SslError> {
    let mut wanted = Host::loopback();
    merge(&mut wanted, Host::parse_all(hosts)?);
    let path = folder.as_ref().map(|folder| folder.join(FILE));
    if let Some(path) = &path {
        let kept = kept(path);
        if let Some((identity, there)) = kept {
            if wanted.iter().all(|host| there.contains(host)) {
                return Ok((identity, None));
            }
            let room = KEPT.saturating_sub(wanted.len());
            merge(&mut wanted, there.into_iter().take(room));
        }
    }
    let made = make::self_signed("localhost", &wanted)?;
    let text = [made.certificate, made.key].concat();
    let remark = match path.as_deref().zip(folder.as_deref()) {
        None => Some("there is no home folder".to_owned()),
        Some((path, folder)) => files::make_private_folder(folder)
            .and_then(|()| files::replace(path, text.as_bytes(), true))
            .err()
            .map(|error| SslError::unwritable(path, &error).to_string()),
    };
    let path = path.unwrap_or_else(|| FILE.into());
    let identity = read::identity_of((&path, text.as_bytes()), (&path, text.as_bytes()))?;
    Ok((identity, remark.map(|remark| format!("the adhoc certificate is for this run only: {remark}"))))
}

/// What is there, if it can be used for a while yet and nobody else could read its key.
fn kept(path: &Path) -> Option<(Arc<CertifiedKey>, Vec<Host>)> {
    if !files::is_private(path) {
        return None;
    }
    let identity = read::identity(path, None).ok()?;
    let CertInfo { not_after, hosts, .. } = CertInfo::parse(identity.cert.first()?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
    (not_after > now + MARGIN).then_some((identity, hosts))
}
