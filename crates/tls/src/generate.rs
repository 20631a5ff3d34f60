//! Generating certificates: ECDSA P-256, valid for a year.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::error::{SslError, SslErrorKind};
use crate::files;
use crate::host::{merge, Host};

/// How long a server certificate is valid, in days. Browsers reject certificates that are valid for much more than a
/// year.
const SERVER_CERT_DAYS: u64 = 365;
/// How long before now the validity of a certificate begins, so that clients whose clocks are slow accept it.
const BACKDATED: Duration = Duration::from_secs(3600);
/// The organisation in development certificates; Werkzeug uses the same.
const ORGANISATION: &str = "Dummy Certificate";

/// A certificate and its private key, both in PEM.
pub(crate) struct CertAndKey {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Generates a self-signed server certificate.
pub(crate) fn self_signed(common_name: &str, hosts: &[Host]) -> Result<CertAndKey, SslError> {
    let key = KeyPair::generate().map_err(generation_error)?;
    let certificate = server_params(common_name, hosts)?.self_signed(&key).map_err(generation_error)?;
    Ok(CertAndKey { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// The contents of a server certificate.
pub(crate) fn server_params(common_name: &str, hosts: &[Host]) -> Result<CertificateParams, SslError> {
    let mut params = params_valid_for(SERVER_CERT_DAYS);
    params.distinguished_name = distinguished_name(ORGANISATION, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for host in hosts {
        params.subject_alt_names.push(match host {
            Host::Ip(address) => SanType::IpAddress(*address),
            Host::Name(name) => SanType::DnsName(name.as_str().try_into().map_err(generation_error)?),
        });
    }
    Ok(params)
}

pub(crate) fn params_valid_for(days: u64) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BACKDATED);
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

pub(crate) fn generation_error(error: rcgen::Error) -> SslError {
    SslError::new(SslErrorKind::Configuration, format!("can't generate a certificate: {error}"))
}

/// Writes `base.crt` and `base.key`. Only this user can read the key.
pub(crate) fn write_pair(base: &Path, certificate: &str, key: &str) -> Result<(PathBuf, PathBuf), SslError> {
    let with_extension = |extension: &str| {
        let mut path = base.as_os_str().to_owned();
        path.push(extension);
        PathBuf::from(path)
    };
    let (certificate_path, key_path) = (with_extension(".crt"), with_extension(".key"));
    for (path, content, private) in [(&key_path, key, true), (&certificate_path, certificate, false)] {
        files::replace(path, content.as_bytes(), private).map_err(|error| SslError::unwritable(path, &error))?;
    }
    Ok((certificate_path, key_path))
}

/// Generates a certificate for development and writes it to `base.crt`, and its key to `base.key`, which only this user
/// can read. Replaces existing files. Returns the two paths.
///
/// The certificate is valid for a year, for localhost, `*.localhost`, 127.0.0.1 and ::1, for `host` and its subdomains,
/// and for `cn`, which is also its common name. Without `cn`, the common name is `host`; without both, it is `*`.
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
/// When a certificate cannot contain a host, or a file cannot be written.
pub fn make_ssl_devcert(
    base: impl AsRef<Path>,
    host: Option<&str>,
    cn: Option<&str>,
) -> Result<(PathBuf, PathBuf), SslError> {
    let mut hosts = Vec::new();
    for given in [host, cn].into_iter().flatten().filter(|given| *given != "*") {
        let host = Host::parse(given)?;
        let subdomains = match &host {
            Host::Name(name) if !name.starts_with("*.") => Some(Host::Name(format!("*.{name}"))),
            _ => None,
        };
        merge(&mut hosts, [host].into_iter().chain(subdomains));
    }
    merge(&mut hosts, Host::loopback());
    let generated = self_signed(cn.or(host).unwrap_or("*"), &hosts)?;
    write_pair(base.as_ref(), &generated.certificate, &generated.key)
}
