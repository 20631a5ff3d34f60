//! Making certificates: ECDSA P-256, for a year.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::error::{SslError, SslErrorKind};
use crate::files;
use crate::host::{merge, Host};

/// How long a server's certificate is good; browsers accept little more than a year.
const DAYS: u64 = 365;
/// Certificates begin a little before now, for clients whose clocks are behind.
const BEFORE: Duration = Duration::from_secs(3600);
/// The organisation in certificates made for developing, as Werkzeug names it.
const ORGANISATION: &str = "Dummy Certificate";

/// A certificate and its key.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) der: Vec<u8>,
}

/// A certificate that vouches for itself.
pub(crate) fn self_signed(common_name: &str, hosts: &[Host]) -> Result<Made, SslError> {
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = leaf(common_name, hosts)?.self_signed(&key).map_err(failed)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() })
}

/// What a server's certificate says.
pub(crate) fn leaf(common_name: &str, hosts: &[Host]) -> Result<CertificateParams, SslError> {
    let mut params = lasting(DAYS);
    params.distinguished_name = distinguished_name(ORGANISATION, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for host in hosts {
        params.subject_alt_names.push(match host {
            Host::Ip(address) => SanType::IpAddress(*address),
            Host::Name(name) => SanType::DnsName(name.as_str().try_into().map_err(failed)?),
        });
    }
    Ok(params)
}

pub(crate) fn lasting(days: u64) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BEFORE);
    params.not_after = epoch + now + Duration::from_secs(days * 24 * 3600);
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn distinguished_name(organisation: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::CommonName, common_name);
    name
}

pub(crate) fn failed(error: rcgen::Error) -> SslError {
    SslError::new(SslErrorKind::Setting, format!("can't make a certificate: {error}"))
}

/// Writes `base.crt` and `base.key`; the key for this user's eyes only.
pub(crate) fn write_pair(base: &Path, certificate: &str, key: &str) -> Result<(PathBuf, PathBuf), SslError> {
    let with = |extension: &str| {
        let mut path = base.as_os_str().to_owned();
        path.push(extension);
        PathBuf::from(path)
    };
    let (certificate_path, key_path) = (with(".crt"), with(".key"));
    for (path, content, private) in [(&key_path, key, true), (&certificate_path, certificate, false)] {
        files::replace(path, content.as_bytes(), private).map_err(|error| SslError::unwritable(path, &error))?;
    }
    Ok((certificate_path, key_path))
}

/// Makes a certificate for developing and its key, and writes them to `base.crt` and `base.key` (readable by this user
/// only); returns the two paths. Files that are there are replaced.
///
/// The certificate is good for a year, for localhost, `*.localhost`, 127.0.0.1 and ::1, for `host` and everything below
/// it, and for `cn`, which also becomes its common name. Without `cn` that is `host`, without both `*`.
///
/// ```
/// let folder = std::env::temp_dir().join(format!("amboss-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let (certificate, key) = amboss_tls::make_ssl_devcert(folder.join("dev"), Some("myproject.test"), None)?;
/// assert!(certificate.ends_with("dev.crt") && key.ends_with("dev.key"));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When a host can't stand in a certificate, or a file can't be written.
pub fn make_ssl_devcert(
    base: impl AsRef<Path>,
    host: Option<&str>,
    cn: Option<&str>,
) -> Result<(PathBuf, PathBuf), SslError> {
    let mut hosts = Vec::new();
    for given in [host, cn].into_iter().flatten().filter(|given| *given != "*") {
        let host = Host::parse(given)?;
        let below = match &host {
            Host::Name(name) if !name.starts_with("*.") => Some(Host::Name(format!("*.{name}"))),
            _ => None,
        };
        merge(&mut hosts, [host].into_iter().chain(below));
    }
    merge(&mut hosts, Host::loopback());
    let made = self_signed(cn.or(host).unwrap_or("*"), &hosts)?;
    write_pair(base.as_ref(), &made.certificate, &made.key)
}
