//! The ad-hoc certificate, for servers that are started without a certificate.
//!
//! It is generated once, stored in the user's cache folder, and used again until it is about to expire or lacks a host,
//! so that a browser that accepts it once does not ask again.
//!
//! The certificate and its key are in one file that is replaced atomically: if two servers start at the same time, both
//! read a certificate and a key that belong together. A running server keeps the certificate it started with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;

use crate::cert_info::CertInfo;
use crate::error::SslError;
use crate::files;
use crate::generate;
use crate::host::{merge, Host};
use crate::load::{self, PemFile};

const FILE_NAME: &str = "adhoc.pem";
/// The minimum remaining validity of a stored certificate, in seconds: 30 days, longer than most development servers
/// run.
const MIN_REMAINING: i64 = 30 * 24 * 3600;
/// The maximum number of hosts in a certificate. A new certificate keeps the hosts of the one it replaces, so that
/// servers with different hosts do not replace each other's certificate in turn; without a maximum it would grow
/// forever.
const MAX_HOSTS: usize = 64;

/// Returns the stored certificate or a new one, and a warning if the new one could not be stored.
pub(crate) fn certified_key(
    folder: Option<PathBuf>,
    hosts: &[&str],
) -> Result<(Arc<CertifiedKey>, Option<String>), SslError> {
    let mut wanted = Host::loopback();
    merge(&mut wanted, Host::parse_all(hosts)?);
    let path = folder.as_ref().map(|folder| folder.join(FILE_NAME));
    if let Some((stored, stored_hosts)) = path.as_deref().and_then(load_stored) {
        if wanted.iter().all(|host| stored_hosts.contains(host)) {
            return Ok((stored, None));
        }
        let available = MAX_HOSTS.saturating_sub(wanted.len());
        merge(&mut wanted, stored_hosts.into_iter().take(available));
    }
    let generated = generate::self_signed("localhost", &wanted)?;
    let content = [generated.certificate, generated.key].concat();
    let failure = match path.as_deref().zip(folder.as_deref()) {
        None => Some("there is no home directory to store it in".to_owned()),
        Some((path, folder)) => files::create_private_folder(folder)
            .and_then(|()| files::replace(path, content.as_bytes(), true))
            .err()
            .map(|error| SslError::unwritable(path, &error).to_string()),
    };
    let path = path.unwrap_or_else(|| FILE_NAME.into());
    let file = PemFile { path: &path, content: content.as_bytes() };
    let certified_key = load::parse_certified_key(file, file)?;
    Ok((certified_key, failure.map(|failure| format!("the adhoc certificate is for this run only: {failure}"))))
}

/// Loads the stored certificate with its hosts, unless it expires soon or other users could read its key.
fn load_stored(path: &Path) -> Option<(Arc<CertifiedKey>, Vec<Host>)> {
    if !files::is_private(path) {
        return None;
    }
    let certified_key = load::load_certified_key(path, None).ok()?;
    let CertInfo { not_after, hosts, .. } = CertInfo::parse(certified_key.cert.first()?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
    (not_after > now + MIN_REMAINING).then_some((certified_key, hosts))
}
